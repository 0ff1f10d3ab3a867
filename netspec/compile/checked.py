"""A spec file and its variants, each compiled or refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from netspec.compile.network import compile_spec
from netspec.errors import SpecError, Used
from netspec.network import Network
from netspec.spec.load import load_spec


def checked(
    path: Path, overrides: Sequence[str], variant: str | None
) -> Iterator[tuple[str | None, Network | SpecError]]:
    """The network of a spec, or what is wrong with it; then, if none was named and it is sound, of each variant."""
    from netspec.spec.override import variant_names

    try:
        spec = load_spec(path, overrides, variant)
        yield variant, compile_spec(spec)
    except SpecError as error:
        yield variant, error
        return
    for name in variant_names(spec.root) if variant is None and spec.root is not None else ():
        try:
            yield name, compile_spec(load_spec(path, overrides, name))
        except SpecError as error:
            where = f"variants.{name}"
            yield name, error.used_at(Used(spec.place(where), where, ""))
