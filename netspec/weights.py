"""The weights of a network: initial values drawn from a seed, and safetensors files in the canonical layout.

Every weight has a random stream of its own, keyed by the seed and its name, so that a value depends neither on the
rows around it nor on a framework, a thread count or an order of drawing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from math import prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netspec.errors import Problem, SpecError, did_you_mean
from netspec.layers.base import Weight
from netspec.layers.initializer import Initializer
from netspec.memory import check_memory
from netspec.network import Network
from netspec.storage.atomic import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

# The standard deviation of N(0, 1) cut off at two, by which the truncated schemes correct their scale.
TRUNCATED_STD = 0.87962566103423978


def draw(network: Network, seed: int, given: Mapping[str, Float32] | None = None) -> dict[str, Float32]:
    """The initial value of every weight, by its full name; drawn in float64 and rounded once.

    Those that are `given` are taken as they are. Raises SpecError when the weights do not fit into the memory that is
    available.
    """
    check_memory(network)
    given = given or {}
    return {
        weight.name: given[weight.name] if weight.name in given else _initial(weight, seed).astype(np.float32)
        for weight in network.weights()
    }


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of a name: Philox, a counter-based generator, keyed by sha256 of the seed and the name."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan in, fan out) of a weight in its canonical layout, as Keras counts them.

    A vector has its size as both, a matrix its two sizes, a kernel [k..., a, b] has k * a and k * b. So the
    kernel of a ConvTranspose [k..., out, in] has them exchanged, and that of a DepthwiseConv counts every channel.

    >>> fans((3, 3, 16, 32))
    (144, 288)
    """
    if len(shape) < 2:
        size = prod(shape)
        return size, size
    window = prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def _initial(weight: Weight, seed: int) -> Float64:
    init, shape, random = weight.init, weight.shape, stream(seed, weight.name)
    match init.scheme:
        case "zeros":
            return np.zeros(shape)
        case "ones":
            return np.ones(shape)
        case "constant":
            return np.full(shape, float(init.value))
        case "normal":
            return init.std * random.standard_normal(shape)
        case "truncated_normal":
            return init.std * truncated(random, shape)
        case "uniform":
            return random.uniform(-init.limit, init.limit, shape)
        case "orthogonal":
            return init.gain * orthogonal(random, shape)
        case "torch_default":
            limit = 1 / sqrt(weight.fan_in) if weight.fan_in else 0.0
            return random.uniform(-limit, limit, shape)
        case _:
            return _scaled(init, shape, random)


# The variance that each family gives, from (fan in, fan out): Glorot and Bengio 2010, He et al. 2015, LeCun et al.
# 1998.
FAMILIES: Mapping[str, Callable[[tuple[int, int]], float]] = {
    "glorot": lambda fans: 2 / (fans[0] + fans[1]),
    "he": lambda fans: 2 / fans[0],
    "lecun": lambda fans: 1 / fans[0],
}


def _scaled(init: Initializer, shape: tuple[int, ...], random: np.random.Generator) -> Float64:
    """The glorot, he and lecun schemes: a variance from the fans, uniform or truncated normal."""
    family, distribution = init.scheme.split("_")
    variance = FAMILIES[family](fans(shape))
    if distribution == "uniform":
        limit = sqrt(3 * variance)
        return random.uniform(-limit, limit, shape)
    return sqrt(variance) / TRUNCATED_STD * truncated(random, shape)


def truncated(random: np.random.Generator, shape: tuple[int, ...]) -> Float64:
    """N(0, 1), where everything beyond two is drawn again until nothing is."""
    values = random.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = random.standard_normal(int(beyond.sum()))
    return values


def orthogonal(random: np.random.Generator, shape: tuple[int, ...]) -> Float64:
    """A matrix [product of the other axes, last axis] with orthonormal columns (rows, where it is wider than tall).

    QR of a normal matrix with the signs of R's diagonal taken back, so that it is uniform (Saxe et al. 2014).
    """
    rows, columns = prod(shape[:-1]), shape[-1]
    square = random.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(square)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    found: Float64 = (q if rows >= columns else q.T).reshape(shape)
    return found


def save(path: Path, weights: Mapping[str, Float32], network: Network, *, durable: bool = False) -> None:
    """Write a network's weights as safetensors, in order of their names; the file appears whole or not at all.

    With `durable` a power cut afterwards does not take it away. Raises SpecError as `load` does, so that no file is
    written which could not be read.
    """
    from safetensors.numpy import save as serialise

    check_fit(weights, network, str(path))
    tensors = {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
    # One entry, for safetensors writes several in an order that changes from run to run.
    metadata = {"netspec": json.dumps({"network": network.name, "digest": network.digest})}
    with replacing(path, durable=durable) as partial:
        partial.write_bytes(serialise(tensors, metadata))


def load(path: Path, network: Network) -> dict[str, Float32]:
    """The weights of a network from a file that `save` wrote.

    Raises SpecError listing every weight that is missing, unknown, or of another shape or type than its row needs,
    and when the file is not a whole safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        found = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        reason = (
            "there is no such file"
            if isinstance(error, FileNotFoundError)
            else f"not a whole safetensors file ({error})"
        )
        raise SpecError([Problem(f"{path}: the weights cannot be read: {reason}")]) from error
    check_fit(found, network, str(path))
    return {weight.name: found[weight.name] for weight in network.weights()}


def check_fit(found: Mapping[str, NDArray[np.generic]], network: Network, source: str) -> None:
    """Raise SpecError listing every array of `source` that does not fit its row, and every weight that is missing."""
    rows = {weight.name: row.name for row in network.rows for node in row.nodes for weight in node.weights}
    missing = rows.keys() - found.keys()
    problems = [
        Problem(f"{source}: {name} belongs to no row of {network.name}", did_you_mean(name, missing, fold=False))
        for name in sorted(found.keys() - rows.keys())
    ]
    misfits = ((weight.name, misfit(weight, found.get(weight.name))) for weight in network.weights())
    problems += [Problem(f"{source}: row {rows[name]!r}: {wrong}") for name, wrong in misfits if wrong]
    if problems:
        raise SpecError(problems)


def misfit(weight: Weight, found: NDArray[np.generic] | None) -> str | None:
    """What is wrong with an array as the value of a weight, or None."""
    if found is None:
        return f"{weight.name} is missing"
    if found.shape != weight.shape:
        return f"{weight.name} has the shape {_shape(found.shape)}, but {_shape(weight.shape)} is needed"
    if found.dtype != np.float32:
        return f"{weight.name} is {found.dtype}, but float32 is needed"
    return None


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
