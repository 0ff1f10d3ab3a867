"""Files that others made, held against a spec: what the command line asks of `netspec.verify.against`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.compile import compile_spec
from netspec.compile.pixels import trained_network
from netspec.importing.initial import Start
from netspec.spec.model import Spec, VerifySettings
from netspec.verify.against import OTHER, Request, check_against

if TYPE_CHECKING:
    from netspec.tensors import Order, Weights
    from netspec.verify.result import AgainstVerdict


def verify_against(
    spec: Spec,
    files: Sequence[Path],
    weights: Path | None = None,
    *,
    mapping: Path | None = None,
    ignore: Sequence[str] = (),
    flattened: Order | None = None,
    limit_s: float,
) -> AgainstVerdict:
    """The verdict on files that others made; `weights` is a file of those that they should have.

    Raises SpecError for a spec or arguments that are wrong.
    """
    network = compile_spec(spec)
    pixels = trained_network(spec, network)
    start = Start(spec, network, weights, flattened) if weights is not None else None

    def turned() -> Weights | None:
        order = (start.guessed or flattened) if start else None
        return Start(spec, network, weights, OTHER[order]).weights(0) if order else None

    request = Request(
        settings=spec.verify or VerifySettings(),
        weights=start.weights(0) if start else None,
        turned=turned,
        given=f"those of {start.file or weights}" if start else "",
        pixels=pixels if pixels is not network else None,
        mapping=mapping,
        ignore=ignore,
        flattened=flattened,
        limit_s=limit_s,
    )
    return check_against(network, files, request)
