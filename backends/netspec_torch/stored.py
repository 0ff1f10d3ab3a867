"""State dicts that others saved, as safetensors or as pickles: read as numbers; nothing in them is ever run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from netspec.backend.stored import StoredLayer, StoredTensor, StoredWeights
from netspec.errors import Problem, UnreadableError, VerificationError

if TYPE_CHECKING:
    from torch import Tensor

    from netspec.tensors import Array

COUNTER = "num_batches_tracked"
"""What torch counts in its normalisations for itself."""
ROLES = ("weight", "bias", "running_mean", "running_var")
"""The order of a module's tensors in a state dict, which safetensors do not keep."""
USUAL = ("state_dict", "model_state_dict", "model", "weights", "module")
"""What checkpoints call the state dict that they hold beside other things."""
SAFE_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def read(path: Path, limit_bytes: int) -> StoredWeights:
    """What a file holds; see `Importable.read_stored`."""
    if path.suffix == ".safetensors":
        return StoredWeights(_layers(_safetensors(path)), "none")
    if path.suffix == ".pt2":
        return StoredWeights(_layers(_program(path, limit_bytes)), "made")
    tensors, notes = _pickled(path, limit_bytes)
    return StoredWeights(_layers(tensors), "made", notes=notes)


def _layers(tensors: Iterable[StoredTensor]) -> tuple[StoredLayer, ...]:
    """The tensors gathered by module, in the order in which the modules first appear."""
    modules: dict[str, list[StoredTensor]] = {}
    for tensor in tensors:
        if tensor.role != COUNTER:
            modules.setdefault(tensor.name.rpartition(".")[0], []).append(tensor)
    return tuple(StoredLayer(name, tuple(sorted(own, key=_place))) for name, own in modules.items())


def _place(tensor: StoredTensor) -> int:
    return ROLES.index(tensor.role) if tensor.role in ROLES else len(ROLES)


def _stored(name: str, array: Array, dtype: str) -> StoredTensor:
    return StoredTensor(name, array, dtype, array.shape, name.rpartition(".")[2])


def _safetensors(path: Path) -> Iterable[StoredTensor]:
    """Every tensor; the library has checked that each lies in the file, whole."""
    import numpy as np
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(path.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise _refused(path, f"not a whole safetensors file ({error})") from error
    for name, held in sorted(
        found, key=lambda pair: [(part.isdecimal(), part.zfill(9)) for part in pair[0].split(".")]
    ):
        kind, data = held["dtype"], held["data"]
        dtype = SAFE_TYPES.get(kind) or re.sub(r"^(u?)i?(?=\d)", r"\1int", kind.lower())
        if dtype == "bfloat16":  # the upper half of a float32
            array = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif kind in SAFE_TYPES:
            with np.errstate(over="ignore"):
                array = np.frombuffer(data, dtype).astype(np.float32)
        else:
            array = np.zeros(prod(held["shape"]), np.uint8)  # no weight: only its shape is ever told
        yield _stored(name, array.reshape(held["shape"]), dtype)


def _program(path: Path, limit_bytes: int) -> Iterable[StoredTensor]:
    """Every tensor of a program that torch.export saved, in the order in which its modules were made."""
    from netspec_torch.foreign import load

    _check_archive(path, limit_bytes)
    try:
        state = load(path).state_dict
    except VerificationError as error:
        raise _refused(path, str(error)) from None
    return [_tensor(path, name, tensor) for name, tensor in state.items()]


def _pickled(path: Path, limit_bytes: int) -> tuple[list[StoredTensor], tuple[str, ...]]:
    """Every tensor of the state dict in a pickle, in the order in which its modules were made, and notes."""
    name, state, beside = _state_dict(path, _unpickled(path, limit_bytes))
    notes = []
    if name:
        notes.append(f"the state dict is {name!r} in a checkpoint that also holds {', '.join(beside) or 'nothing'}")
    total = sum(4 * tensor.numel() for tensor in state.values())
    if total > limit_bytes:
        raise _refused(path, f"its tensors would take {total:,} bytes, far more than the network needs")
    return [_tensor(path, name, tensor) for name, tensor in state.items()], tuple(notes)


def _tensor(path: Path, name: str, tensor: Tensor) -> StoredTensor:
    import torch

    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        kind = "quantized" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
        raise _refused(path, f"{name} is {kind}, but a weight is an array of plain numbers")
    if dtype in SAFE_TYPES.values():
        tensor = tensor.float()
    elif tensor.dtype not in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool):
        tensor = torch.zeros(tensor.shape, dtype=torch.uint8)  # no weight: only its shape is ever told
    return _stored(name, tensor.detach().contiguous().numpy(), dtype)


def _unpickled(path: Path, limit_bytes: int) -> Any:
    """What a pickle holds, where that is tensors in plain containers; torch refuses everything else."""
    import pickle

    import torch

    _check_archive(path, limit_bytes)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"code ({code[1]})" if code else "more than tensors"
        hint = "save the state dict alone, best as safetensors: safetensors.torch.save_file(model.state_dict(), path)"
        raise _refused(path, f"it holds {what}, which netspec never runs", hint) from None
    except MemoryError:
        raise _refused(path, "it asks for more memory than there is") from None
    except Exception as error:  # noqa: BLE001 - torch raises whatever its parsers stumble over
        if "TorchScript" in str(error):
            hint = "torch.jit.load(path).state_dict() gives its weights"
            raise _refused(
                path, "it is a TorchScript archive, which holds code, which netspec never runs", hint
            ) from None
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise _refused(path, f"not a whole PyTorch file ({reason[:120]})") from None


def _check_archive(path: Path, limit_bytes: int) -> None:
    """Refuse an archive that would unpack to far more than it is."""
    if not is_zipfile(path):
        return
    try:
        with ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (BadZipFile, OSError) as error:
        raise _refused(path, f"not a whole PyTorch file ({error})") from None
    if size > limit_bytes:
        raise _refused(path, f"it would unpack to {size:,} bytes, far more than the network needs")


def _state_dict(path: Path, found: Any) -> tuple[str, Mapping[str, Tensor], list[str]]:
    """The state dict, its name in a checkpoint (empty where the file is nothing else), and what lies beside it."""
    if _is_state(found):
        return "", found, []
    held = found if isinstance(found, Mapping) else {}
    states = [key for key, value in held.items() if _is_state(value)]
    named = [key for key in USUAL if key in states] or states
    if not named or (len(named) > 1 and named is states):
        what = f"several: {', '.join(map(repr, states[:5]))}" if states else "none"
        hint = "torch.save(model.state_dict(), path) writes one"
        raise _refused(path, f"it should hold one state dict (names and tensors), but holds {what}", hint)
    return named[0], held[named[0]], [repr(key) for key in held if key != named[0]][:5]


def _is_state(value: Any) -> bool:
    import torch

    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) and isinstance(held, torch.Tensor) for key, held in value.items())
    )


def _refused(path: Path, why: str, hint: str | None = None) -> UnreadableError:
    return UnreadableError([Problem(f"{path}: the weights cannot be read: {why}", hint)])
