"""Golden bundles: inputs, weights and expected outputs of a network in one safetensors file, for any tool to read.

A bundle pins what a network computes: whatever becomes of the spec, of netspec or of a program of someone else's, with
these weights and inputs the outputs are these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.errors import ExpectationError, Problem, SpecError
from netspec.storage.atomic import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netspec.network import Network
    from netspec.spec.model import Spec, VerifySettings

    Array = NDArray[np.generic]

INPUTS, WEIGHTS, OUTPUTS, GRANTED = "inputs.", "weights.", "outputs.", "granted."


@dataclass(frozen=True)
class Bundle:
    """What a file holds, all by the names that the spec gives."""

    inputs: Mapping[str, Array]
    """float32 batches, channels last."""
    weights: Mapping[str, Array]
    """Canonical weights, float32."""
    outputs: Mapping[str, Array]
    """What the reference computes, float64, channels last."""
    granted: Mapping[str, Array]
    """For every sample the largest L2 error that float32 is granted: [batch]."""


def make(network: Network, weights: Mapping[str, Array], settings: VerifySettings) -> Bundle:
    """A bundle with the inputs that verification uses: some of N(0, 1) and the hard ones."""
    from netspec.verify.budget import budget, predict
    from netspec.verify.samples import choose_samples

    inputs = choose_samples(network, settings).artefact_inputs
    outputs = _outputs(network, weights, inputs)
    rows = _rows(network)
    predicted = predict(network, weights, inputs, {rows[name]: values for name, values in outputs.items()})
    granted = {name: budget(values, predicted[rows[name]]) for name, values in outputs.items()}
    return Bundle(inputs, weights, outputs, granted)


def drawn(spec: Spec, file: Path | None, seed: int | None) -> tuple[Bundle, Network]:
    """A bundle with the weights that a build would start with, and the network; `file` has others for all of them."""
    from netspec.compile import compile_spec
    from netspec.importing.initial import Start
    from netspec.spec.model import VerifySettings

    network = compile_spec(spec)
    seed = (spec.train.seed if spec.train else 0) if seed is None else seed
    return make(network, Start(spec, network, file).weights(seed), spec.verify or VerifySettings()), network


def _rows(network: Network) -> dict[str, str]:
    """The row that gives each output."""
    rows = {row.result: row.name for row in network.rows}
    return {name: rows[value] for name, value in network.outputs.items()}


def _outputs(network: Network, weights: Mapping[str, Array], inputs: Mapping[str, Array]) -> dict[str, Any]:
    from netspec.reference import interpret

    wanted = {value: name for name, value in network.outputs.items()}
    found = {node.name: values for node, values in interpret(network, weights, inputs) if node.name in wanted}
    return {name: found[value] for name, value in network.outputs.items()}


def write(path: Path, bundle: Bundle, network: Network) -> None:
    """Write a bundle, whole or not at all; the same one gives the same bytes."""
    from netspec import __version__
    from netspec.errors import FolderError

    parts = {INPUTS: bundle.inputs, WEIGHTS: bundle.weights, OUTPUTS: bundle.outputs, GRANTED: bundle.granted}
    arrays = {f"{prefix}{name}": array for prefix, entries in parts.items() for name, array in entries.items()}
    # One entry, for safetensors writes several in an order that changes from run to run.
    about = f'{{"netspec": "{__version__}", "spec": "{network.name}", "network": "{network.digest}"}}'
    try:
        with replacing(path) as partial:
            partial.write_bytes(_bytes(arrays, {"golden": about}))
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {error.strerror or error}") from error


def _bytes(arrays: Mapping[str, Array], metadata: dict[str, str]) -> bytes:
    import numpy as np
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=metadata)


def read(path: Path) -> Bundle:
    """The bundle in a file; raises SpecError where it is none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
    except FileNotFoundError:
        raise SpecError([Problem(f"there is no file {path}", "`netspec golden SPEC -o FILE` writes one")]) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise SpecError([Problem(f"{path} is not a whole safetensors file ({error})")]) from error
    parts = {
        prefix: {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}
        for prefix in (INPUTS, WEIGHTS, OUTPUTS, GRANTED)
    }
    if not parts[INPUTS] or not parts[OUTPUTS]:
        message = f"{path} is no golden bundle: it has no inputs or no outputs"
        raise SpecError([Problem(message, "`netspec golden SPEC -o FILE` writes one")])
    return Bundle(parts[INPUTS], parts[WEIGHTS], parts[OUTPUTS], parts[GRANTED])


def check_golden(spec: Spec, network: Network) -> None:
    """Raise ExpectationError where the network does not compute what the bundle that its spec pins says."""
    expect = spec.expect
    if expect is None or expect.golden is None:
        return
    place = spec.place("expect.golden")
    path = Path(spec.file).parent / expect.golden.file
    try:
        bundle = read(path)
        problems = list(_differences(bundle, network, path, expect.golden.sha256))
    except SpecError as error:
        raise SpecError(problem.at(place, "expect.golden") for problem in error.problems) from None
    if problems:
        raise ExpectationError(Problem(problem, None, "expect.golden", place) for problem in problems)


def _differences(bundle: Bundle, network: Network, path: Path, sha256: str | None) -> list[str]:
    from netspec.storage.stages import sha256 as digest_of
    from netspec.weights import check_fit

    if sha256 is not None and (found := digest_of(path)) != sha256:
        return [f"{path} should have the sha256 {sha256}, but it has {found}"]
    check_fit(bundle.weights, network, str(path))
    for what, given, wanted in (
        ("inputs", {name: values.shape[1:] for name, values in bundle.inputs.items()}, network.inputs),
        ("outputs", {name: values.shape[1:] for name, values in bundle.outputs.items()}, _output_types(network)),
    ):
        shapes = {name: kind.shape for name, kind in wanted.items()}
        if given != shapes:
            return [f"{path} has the {what} {_listed(given)}, but the network has {_listed(shapes)}"]
    return _misses(bundle, network, path)


def _output_types(network: Network) -> dict[str, Any]:
    return {name: network.types[value] for name, value in network.outputs.items()}


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _misses(bundle: Bundle, network: Network, path: Path) -> list[str]:
    """Every output that is not what the bundle says, by more than float64 rounds."""
    import numpy as np

    from netspec.verify.budget import gate, predict
    from netspec.verify.compare import compare

    found = _outputs(network, bundle.weights, bundle.inputs)
    rows = _rows(network)
    predicted = predict(network, bundle.weights, bundle.inputs, {rows[name]: values for name, values in found.items()})
    misses = []
    for name, expected in bundle.outputs.items():
        wanted = np.asarray(expected, np.float64)
        result = compare(wanted, found[name], gate(wanted, predicted[rows[name]]))
        if result.symptom is not None:
            misses.append(f"output {name!r} is not that of {path}: for input {result.sample + 1}, {result.message}")
    return misses
