"""Published facts as checks: what a spec's `expect` section promises, held against the network."""

from __future__ import annotations

from collections.abc import Iterator

from netspec.compile.names import label_said
from netspec.errors import Problem, did_you_mean
from netspec.network import Network
from netspec.spec.model import Expect, Spec
from netspec.spec.names import own_names


def expectation_problems(spec: Spec, network: Network) -> Iterator[Problem]:
    """Every expectation that the network does not meet, at its own line."""
    expect: Expect | None = spec.expect
    if expect is None:
        return
    totals = ("parameters", "trainable", "non_trainable", "layers", "macs")
    for name in totals:
        wanted, found = getattr(expect, name), getattr(network, name)
        if wanted is not None and wanted != found:
            yield _missed(spec, name, f"{name} should be {wanted:,}, but the network has {found:,}")
    if expect.output is not None and expect.output != network.output_type.shape:
        yield _missed(spec, "output", f"output should be {_shape(expect.output)}, but it is {network.output_type}")
    for name, shape in expect.shapes.items():
        output = network.named[name][-1].output
        if output.shape != shape:
            message = f"{name} should give {_shape(shape)}, but it gives {output}"
            yield _missed(spec, f"shapes.{name}", message)
    for name, count in expect.counts.items():
        found = sum(row.parameters for row in network.named[name])
        if found != count:
            message = f"{name} should have {count:,} parameters, but it has {found:,}"
            yield _missed(spec, f"counts.{name}", message)


def unknown_rows(spec: Spec, network: Network) -> Iterator[Problem]:
    """Every name in the expectations that no row has, which is an error of the spec and not of the network."""
    for section in ("shapes", "counts"):
        for name in getattr(spec.expect, section, ()):
            if name not in network.named:
                labels = dict(zip((row.label for row in spec.rows), own_names(spec), strict=True))
                message, hint = f"there is no row {name!r}", did_you_mean(name, network.named)
                if name in labels:
                    message, hint = label_said(name, labels[name])
                yield _missed(spec, f"{section}.{name}", message).with_hint(hint)


def _missed(spec: Spec, path: str, message: str) -> Problem:
    return Problem(message, path=f"expect.{path}", position=spec.place(f"expect.{path}"))


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
