"""The weights that a network starts with: those of a file, those of its base's file, and the rest drawn from a seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.compile import compile_spec
from netspec.compile.network import read_rows
from netspec.errors import Position, Problem, SpecError, file_near
from netspec.importing import Imported, check_file, import_weights
from netspec.network import Network
from netspec.spec.model import Spec
from netspec.storage.stages import sha256
from netspec.weights import draw, misfit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from netspec.tensors import Order

    Float32 = NDArray[np.float32]

BASE = "base.weights"


@dataclass(frozen=True)
class Start:
    """What a spec, or the user who names a file for all of its weights, says of the values to begin with.

    The file is looked for, and read, when it is first asked for: weights that were trained need none.
    """

    spec: Spec
    network: Network
    given: Path | None = None
    """A file for every weight, whatever the spec says of its base; looked for where the base's would be, but here and
    not beside the spec."""
    flattened: Order | None = None
    """How the network of that file flattens images, where the file does not say."""

    @cached_property
    def _owner(self) -> Spec | None:
        """The spec whose base has a file; that of a base of the base is used where nothing nearer has one."""
        spec = self.spec if self.given is None else None
        while spec is not None and (spec.base is None or spec.base.settings.weights is None):
            spec = spec.base.spec if spec.base is not None else None
        return spec

    @cached_property
    def file(self) -> Path | None:
        """The file that weights come from, or None; raises SpecError where it is missing or can be none."""
        if self._owner is None:
            if self.given is None:
                return None
            path = find_weights(self.given, Path())
            check_file(path, self.network)
            return path
        assert self._owner.base is not None
        with self._placed():
            path = find_weights(Path(str(self._owner.base.settings.weights)), Path(self._owner.file).parent)
            check_file(path, self._origin)
        return path

    @cached_property
    def _origin(self) -> Network:
        """The network that the file is of: the base whole, before it is cut."""
        if self._owner is None:
            return self.network
        assert self._owner.base is not None
        return compile_spec(self._owner.base.spec)

    @cached_property
    def rows(self) -> frozenset[str]:
        """The rows of the network whose weights the file gives."""
        if self._owner is None:
            return frozenset(row.name for row in self.network.rows) if self.given is not None else frozenset()
        inner, specs = self._owner, []
        while inner.base is not None:
            inner = inner.base.spec
            specs.append(id(inner))
        return frozenset(row.name for row in read_rows(self.spec).rows if id(row.placed.spec) in specs)

    @cached_property
    def _read(self) -> Imported | None:
        if self.file is None:
            return None
        with self._placed():
            return import_weights(self.file, self._origin, flattened=self.flattened)

    @property
    def guessed(self) -> Order | None:
        """How images were taken to be flattened where neither the file nor `flattened` says it, and it matters."""
        return self._read.guessed if self._read else None

    @cached_property
    def imported(self) -> dict[str, Float32]:
        """The weights of those rows, by name.

        Raises SpecError where the file does not fit the network it is of, or that network's weights not this one.
        """
        if self._read is None:
            return {}
        found = self._read.weights
        nodes = [node for node in self.network.nodes if node.row in self.rows]
        wrong = [
            Problem(f"{self.file}: row {node.row!r}: {said}", self._inputs_differ(), BASE, _place(self.spec))
            for node in nodes
            for weight in node.weights
            if (said := misfit(weight, found.get(weight.name)))
        ]
        if wrong:
            raise SpecError(wrong)
        return {weight.name: found[weight.name] for node in nodes for weight in node.weights}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What is to be known of the file: its name, its sha256, and whether it gives `all` weights; {} without one."""
        if self.file is None:
            return {}
        return {"file": self.file.name, "sha256": sha256(self.file), "all": self._owner is None}

    def weights(self, seed: int) -> dict[str, Float32]:
        """The value of every weight, by its full name; what no file gives is drawn.

        Raises SpecError for a file that is missing or does not fit, and when the weights do not fit into the memory.
        """
        return draw(self.network, seed, self.imported)

    def _inputs_differ(self) -> str | None:
        theirs, ours = self._origin.input_type, self.network.input_type
        if theirs == ours:
            return None
        return f"the base is for {theirs}, this network for {ours}, and the shape of these weights depends on it"

    @contextmanager
    def _placed(self) -> Iterator[None]:
        """Errors inside stand where the spec names the file."""
        try:
            yield
        except SpecError as error:
            if self._owner is None:
                raise
            place = _place(self._owner)
            raise SpecError(problem.at(place, BASE) for problem in error.problems) from None


def _place(spec: Spec) -> Position | None:
    return spec.place(BASE) or spec.place("base")


def find_weights(name: Path, beside: Path) -> Path:
    """A file of weights: in the folder `beside`, in the folder that NETSPEC_DATA names, or in `weights` there.

    Raises SpecError naming every place where it was looked for.
    """
    folders = [beside]
    data = os.environ.get("NETSPEC_DATA")
    if data:
        folders += [Path(data), Path(data) / "weights"]
    paths = list(dict.fromkeys(folder / name for folder in folders))  # an absolute path leads to one place
    for path in paths:
        if path.exists():
            return path
    siblings = [found.name for path in paths if path.parent.is_dir() for found in path.parent.iterdir()]
    near = file_near(name.name, siblings)
    hint = f"{near} " * bool(near) + f"it was looked for as {', '.join(map(str, paths))}"
    if not data and not name.is_absolute():
        hint += "; NETSPEC_DATA, which may name a folder of weights, is not set"
    raise SpecError([Problem(f"there is no file {str(name)!r}", hint)])
