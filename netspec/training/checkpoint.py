"""A training under way, on disk: all that the next step depends on, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from netspec.errors import FolderError, Problem, SpecError
from netspec.storage.atomic import replacing

if TYPE_CHECKING:
    from netspec.tensors import Array

EVERY_S = 30.0
"""The shortest time between two checkpoints inside of an epoch."""
FORMAT = "1"
BEST = "best/"
"""How the paths of the weights of the best epoch begin."""
LONGEST = 60
"""Of a value that differs no more than so many characters are shown."""
DIFFERENCES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a training needs to go on after `step` steps of epoch `epoch`, or with 0 after all of it, as if it had never
    stopped.

    `arrays` are the backend's own: weights, optimiser slots, random state, sums of the epoch so far. `facts` are
    JSON: the history of the epochs that ended, and what else is no array.
    """

    epoch: int
    """The epoch under way, counted from 1, or the one that has ended."""
    step: int
    """How many of its steps are done; 0 where it has ended."""
    arrays: Mapping[str, Array] = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)


def packed(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Array]:
    """The arrays of mappings in mappings as one mapping, by their path, each in C order: `optimizer/3/exp_avg`.

    >>> import numpy as np
    >>> list(packed({"weights": {"a": np.zeros(1)}, "optimizer": {"3": {"mean": np.zeros(1)}}}))
    ['weights/a', 'optimizer/3/mean']
    """
    import numpy as np

    found: dict[str, Array] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= packed(value, f"{prefix}{name}/")
        else:
            found[f"{prefix}{name}"] = np.asarray(value, order="C")
    return found


def unpacked(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The mappings in mappings that `packed` took; those that were empty are missing."""
    tree: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, name = path.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = array
    return tree


def under(prefix: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays whose paths begin so, by what follows."""
    return {path.removeprefix(prefix): array for path, array in arrays.items() if path.startswith(prefix)}


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """What two pieces of JSON differ in, with both values; what only one of them has is `-` in the other.

    >>> differences({"train": {"epochs": 2, "seed": 0}}, {"train": {"epochs": 1, "seed": 0}, "trainer": "torch"})
    ['train.epochs 2 -> 1', 'trainer - -> torch']
    """
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        names = dict.fromkeys([*before, *now])
        pairs = ((f"{path}.{name}" if path else name, before.get(name, "-"), now.get(name, "-")) for name in names)
        return [each for name, old, new in pairs for each in differences(old, new, name)]
    old, new = (value if isinstance(value, str) else json.dumps(value) for value in (before, now))
    return [f"{path} {old[:LONGEST]} -> {new[:LONGEST]}"]


def best_weights(path: Path) -> dict[str, Array] | None:
    """The canonical weights of the best epoch in a checkpoint, {} where none had ended; None for any other file.

    Raises SafetensorError and OSError for what is not a whole file of safetensors.
    """
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        try:
            if json.loads((file.metadata() or {})["netspec"])["format"] != FORMAT:
                return None
        except (KeyError, TypeError, ValueError):
            return None
        names = [name for name in file.keys() if name.startswith(BEST)]  # noqa: SIM118 - no mapping
        return under(BEST, {name: file.get_tensor(name) for name in names})


class CheckpointFile:
    """The checkpoint of one training; `key` says which: of another one nothing is taken.

    `parts`, which are JSON, are what the key is made of, for people.
    """

    def __init__(self, path: Path, key: str, parts: Mapping[str, Any] | None = None) -> None:
        self.path, self.key, self.parts = path, key, dict(parts or {})
        self._written = monotonic()

    def due(self) -> bool:
        """Whether the last checkpoint is long enough ago for another inside of an epoch."""
        return monotonic() - self._written >= EVERY_S

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the file, which is whole at every moment; raises FolderError where the disk takes no more."""
        from safetensors.numpy import save

        content = {"format": FORMAT, "key": self.key, "epoch": checkpoint.epoch, "step": checkpoint.step}
        content |= {"parts": self.parts, "facts": dict(checkpoint.facts)}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path, durable=True) as partial:
                partial.write_bytes(save(dict(checkpoint.arrays), {"netspec": json.dumps(content)}))
        except OSError as error:
            before = "; the checkpoint before it is whole" if self.path.exists() else ""
            raise FolderError(f"{self.path} cannot be written: {error.strerror or error}{before}") from error
        self._written = monotonic()

    def load(self) -> Checkpoint | None:
        """The checkpoint, if there is one.

        Raises SpecError for a file that is damaged, and for one that another training left: of another network, other
        data or settings, another backend or other versions.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="numpy") as file:
                content = json.loads(file.metadata()["netspec"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            found = Checkpoint(content["epoch"], content["step"], arrays, content["facts"])
            key, parts = (content["key"], content.get("parts")) if content["format"] == FORMAT else ("", None)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            hint = f"remove {self.path} to train from the beginning"
            raise SpecError([Problem(f"the checkpoint {self.path} cannot be read: {error}", hint)]) from error
        if key != self.key:
            message = f"the checkpoint {self.path} is of another training:{self._unlike(parts)}"
            hint = f"undo the change to go on from epoch {found.epoch}, or remove the file to train from the beginning"
            raise SpecError([Problem(message, hint)])
        return found

    def owner(self) -> str | None:
        """The key of the training that left the file; None where there is none, or none that can be read."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="numpy") as file:
                content = json.loads(file.metadata()["netspec"])
                return str(content["key"]) if content["format"] == FORMAT else None
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return None

    def _unlike(self, parts: Mapping[str, Any] | None) -> str:
        """What this training differs in from one of other parts, a line each, where they are known."""
        found = differences(parts, json.loads(json.dumps(self.parts))) if parts else []
        if not found:
            return " the network, the data, the settings, the backend or a version differ"
        more = [f"and {len(found) - DIFFERENCES_SHOWN} more"] * (len(found) > DIFFERENCES_SHOWN)
        return "".join(f"\n  {each}" for each in [*found[:DIFFERENCES_SHOWN], *more])

    def discard(self) -> None:
        """The training is done."""
        self.path.unlink(missing_ok=True)
