"""One spec through everything: compile, resolve, format, render twice, export, verify. What fails is named."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netspec.backend import ExportSettings
from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.errors import BackendError, SpecError, UnsupportedError
from netspec.network import Network
from netspec.spec.format import Style, format_spec
from netspec.spec.load import parse_spec
from netspec.spec.model import Spec
from netspec.spec.write import write_yaml
from netspec.verify import verify
from netspec.verify.result import BackendVerdict
from netspec.verify.settings import VerifySettings
from netspec.weights import draw
from netspec.worker import Worker, WorkerDied
from tests.fuzz.walk import Meaning

FILE = "fuzz.yaml"
STYLES: tuple[Style, ...] = ("pipes", "mapping", "table")


@dataclass(frozen=True)
class Failure:
    """Something that is not as it should be; two of the same `key` are taken for the same fault."""

    stage: str
    message: str
    backend: str = ""
    symptom: str = ""
    kind: str = ""
    """The kind of the first row that is wrong."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return (self.stage, self.backend, self.symptom, self.kind)

    def __str__(self) -> str:
        place = " ".join(part for part in self.key if part)
        return f"{place}: {self.message}"


class Workers:
    """A process a backend, kept between specs; one that died, or has done `renew` specs, is replaced."""

    def __init__(self, backends: Sequence[str], renew: int = 200) -> None:
        self.backends, self.renew = tuple(backends), renew
        self._started: dict[str, Worker] = {}
        self._done = 0

    @contextmanager
    def lent(self, only: str = "") -> Iterator[Mapping[str, Worker]]:
        """The workers for one spec, or one of them."""
        if self._done >= self.renew:
            self.close()
        for name in self.backends:
            if name not in self._started:
                self._started[name] = Worker(name, {"CUDA_VISIBLE_DEVICES": ""})
        self._done += 1
        yield {name: worker for name, worker in self._started.items() if only in ("", name)}

    def drop(self, backend: str) -> None:
        """Let go of a worker that died."""
        self._started.pop(backend).close()

    def close(self) -> None:
        """End all of them."""
        for worker in self._started.values():
            worker.close()
        self._started, self._done = {}, 0


def check(text: str, workers: Workers | None, means: Meaning | None = None, only: str = "") -> list[Failure]:
    """What is wrong with a spec that should be valid; `means` is what it is by the generator's own reckoning.

    Without workers only the core is asked; `only` names the one backend to ask.
    """
    try:
        return _check(text, workers, means, only)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return [Failure("crash", traceback.format_exc()[-1500:], symptom=type(error).__name__, kind=place.name)]


def _check(text: str, workers: Workers | None, means: Meaning | None, only: str) -> list[Failure]:
    try:
        spec = parse_spec(text, FILE)
        network = compile_spec(spec)
    except SpecError as error:
        return [Failure("compile", str(error), symptom="refused", kind=error.problems[0].message[:40])]
    failures = [*(_meant(network, means) if means else ()), *_same_again(spec, network, text)]
    if failures or workers is None:
        return failures
    return list(_backends(spec, network, workers, only))


def _meant(network: Network, means: Meaning) -> Iterator[Failure]:
    walk = means.walk
    found = (len(network.rows), network.trainable, network.non_trainable, network.macs)
    wanted = (walk.rows, walk.trainable, walk.others, walk.macs)
    if found != wanted:
        yield Failure(
            "compile", f"rows, trained, other weights, MACs: compiled {found}, walked {wanted}", symptom="count"
        )
    shapes = {name: network.types[value] for name, value in network.outputs.items()}
    if shapes != dict(means.outputs):
        yield Failure("compile", f"the outputs are compiled {shapes}, walked {means.outputs}", symptom="shape")


def _same_again(spec: Spec, network: Network, text: str) -> Iterator[Failure]:
    """The resolved spec, and the spec in every notation, are the same network."""
    again = {"resolved": write_yaml(resolved_spec(spec))}
    for style in STYLES:
        try:
            again[style] = format_spec(text, FILE, style)
            if format_spec(again[style], FILE, style) != again[style]:
                yield Failure("format", f"formatting {style} twice gives another text", symptom=style)
        except SpecError as error:
            yield Failure("format", str(error), symptom=style)
    for what, other in again.items():
        stage = "resolve" if what == "resolved" else "format"
        try:
            same = compile_spec(parse_spec(other, FILE)).digest == network.digest
            message = f"another network:\n{other}"
        except SpecError as error:
            same, message = False, f"{error}\nin:\n{other}"
        if not same:
            yield Failure(stage, message, symptom=what)


def _backends(spec: Spec, network: Network, workers: Workers, only: str) -> Iterator[Failure]:
    settings = spec.verify or VerifySettings()
    weights = draw(network, settings.seed)
    with tempfile.TemporaryDirectory() as folder, workers.lent(only) as lent:
        able = {}
        for name, worker in lent.items():
            try:
                yield from _exported(name, worker, spec, network, weights, Path(folder))
                able[name] = worker
            except (BackendError, UnsupportedError) as error:
                if isinstance(error, WorkerDied):
                    workers.drop(name)
                details = getattr(error, "details", "")
                yield Failure("export", f"{error}\n{details[-1500:]}", name, type(error).__name__)
        verdict = verify(network, weights, Path(folder), settings, able)
        for found in verdict.backends:
            if any("worker" in failure.message and failure.symptom == "crash" for failure in found.failures):
                workers.drop(found.backend)
            if not found.passed:
                yield _failure(found)


def _exported(
    name: str, worker: Worker, spec: Spec, network: Network, weights: Mapping[str, object], folder: Path
) -> Iterator[Failure]:
    """Export twice: sources and ONNX files come out the same, in another process and in this one."""
    settings = spec.export or ExportSettings()
    for place in (folder / name, folder / f"{name}-again"):
        place.mkdir()
    worker.call("export", network=network, weights=weights, folder=folder / name, settings=settings)
    sources = _rendered(name, network)
    if name == "onnx":
        again = folder / f"{name}-again"
        worker.call("export", network=network, weights=weights, folder=again, settings=settings)
        sources = {path.name: path.read_bytes() for path in again.iterdir()}
    for file, content in sources.items():
        if (folder / name / file).read_bytes() != content:
            yield Failure("render", f"{file} comes out another way the second time", name, "changed")


def _rendered(name: str, network: Network) -> dict[str, bytes]:
    """The sources that this process renders, whose hashes of strings are others than the worker's."""
    from netspec_keras.render import render as render_keras
    from netspec_torch.render import render as render_torch

    from netspec.source import module_name

    if name == "torch":
        return {f"{module_name(network.name)}.py": render_torch(network).source.encode()}
    return {f"{module_name(network.name)}.py": render_keras(network).encode()} if name == "keras" else {}


def _failure(found: BackendVerdict) -> Failure:
    first = next((each for each in found.failures if each.row == found.first_row), found.failures[0])
    kind = next((row.kind for row in found.rows if row.row == first.row), "")
    others = "".join(f"\n  also {each.symptom}: {each.message}" for each in found.failures if each is not first)
    return Failure(first.stage, f"row {first.row}: {first.message}{others}", found.backend, first.symptom, kind)
