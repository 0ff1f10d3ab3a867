"""How backends are found: entry points of the group `netspec.backends`, and what each of them can do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points, requires

from netspec.backend.protocol import Backend, Differentiable, Importable, Movable, Optimising, Runnable
from netspec.errors import BackendError, did_you_mean


def openers() -> dict[str, Runnable]:
    """The backends that run others' models, installed or not, by where they are."""
    found = {entry.value: entry.load() for entry in entry_points(group="netspec.backends")}
    return {place: backend for place, backend in found.items() if isinstance(backend, Runnable)}


def importers() -> dict[str, Importable]:
    """The backends that read files of weights, installed or not, by where they are (`netspec_torch:backend`)."""
    found = {entry.value: entry.load() for entry in entry_points(group="netspec.backends")}
    return {place: backend for place, backend in found.items() if isinstance(backend, Importable)}


def differentiable_backends() -> set[str]:
    """The names of the backends that derive."""
    return {entry.name for entry in entry_points(group="netspec.backends") if isinstance(entry.load(), Differentiable)}


def optimising_backends() -> set[str]:
    """The names of the backends whose runtime optimises."""
    return {entry.name for entry in entry_points(group="netspec.backends") if isinstance(entry.load(), Optimising)}


def runners() -> dict[str, str]:
    """By the ending of the exported file that it runs, the name of each backend, installed or not."""
    found = {entry.name: entry.load() for entry in entry_points(group="netspec.backends")}
    return {backend.runs: name for name, backend in found.items()}


def installed_backends() -> list[str]:
    """The names of every backend that is registered under the entry point group `netspec.backends`."""
    return sorted(entry.name for entry in entry_points(group="netspec.backends"))


class MissingError(BackendError):
    """Libraries of backends are not installed: what `pip install` needs, and options by which it goes without."""

    def __init__(self, message: str, install: Sequence[str], ways: Sequence[str] = ()) -> None:
        super().__init__(message, install, ways)  # what pickle gives back to __init__
        self.message, self.install, self.ways = message, tuple(install), tuple(ways)

    def __str__(self) -> str:
        without = f"; or what is here: {', or '.join(self.ways)}" if self.ways else ""
        return f"{self.message}\n  hint: pip install {' '.join(self.install)}{without}"


OTHER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("tensorflow", "tf", "jax"), "keras"),
    **dict.fromkeys(("pytorch",), "torch"),
    **dict.fromkeys(("onnxruntime", "ort"), "onnx"),
}
"""What users call a backend after the library that computes in it."""


def meant_backend(name: str) -> str | None:
    """A hint where a name is what users call a backend after the library that computes in it.

    >>> meant_backend("TensorFlow")
    "the backend that computes with it is 'keras'"
    """
    meant = OTHER_NAMES.get(name.casefold())
    return f"the backend that computes with it is {meant!r}" if meant else None


def find_backend(name: str) -> Backend:
    """The backend of this name; raises BackendError naming what to install when its libraries are missing."""
    from importlib.util import find_spec

    found = entry_points(group="netspec.backends", name=name)
    if not found:
        raise BackendError(
            f"there is no backend {name!r}; "
            + (meant_backend(name) or did_you_mean(name, installed_backends()) or f"known: {installed_backends()}")
        )
    backend: Backend = next(iter(found)).load()
    missing = [module for module in backend.requires if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        message = f"the {name} backend needs {', '.join(missing)}, which {verb} not installed"
        elsewhere = backend.elsewhere() if isinstance(backend, Movable) else ()
        raise MissingError(message, [f"'netspec[{name}]'", *_not_brought(missing, name)], elsewhere)
    return backend


def find_backends(targets: Sequence[str], *needed: str) -> dict[str, Backend]:
    """The backends of these names, and those that are `needed` whatever the targets are.

    Raises BackendError as `find_backend` does, of all that are missing, with the targets that are here.
    """
    found: dict[str, Backend] = {}
    missing: list[MissingError] = []
    for name in dict.fromkeys((*targets, *needed)):
        try:
            found[name] = find_backend(name)
        except MissingError as error:
            missing.append(error)
    if missing:
        here = [name for name in targets if name in found]
        ways = [way for each in missing for way in each.ways]
        if here and all(name in found for name in needed):
            ways.append(f"--targets {','.join(here)}")
        install = [word for each in missing for word in each.install]
        raise MissingError("; ".join(each.message for each in missing), install, ways)
    return found


def _not_brought(modules: Sequence[str], name: str) -> list[str]:
    """Those that netspec's extra of this name does not bring: what Keras may run on instead of TensorFlow."""
    lines = [line for line in requires("netspec") or () if "extra ==" not in line or f"extra == '{name}'" in line]
    brought = {re.split(r"[^\w-]", line)[0].replace("-", "_") for line in lines}
    return [module for module in modules if module not in brought]
