"""The main job: weights, training, artefacts of every backend, and the proof that they are equal, stage by stage.

Each stage is keyed by what it reads; a stage whose key and files are as they were is not run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from netspec import __version__
from netspec.backend import Backend, ExportSettings, Progress, Trainable, find_backend
from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.errors import BackendError
from netspec.layers import Activation
from netspec.network import Network
from netspec.spec.model import Spec
from netspec.spec.write import write_yaml
from netspec.stages import BuildFolder, key_of, sha256
from netspec.worker import Worker, WorkerDied, WorkerFailed

if TYPE_CHECKING:
    from netspec.verify.result import Verdict

BACKENDS = ("torch", "keras", "onnx")
SPEC, WEIGHTS, HISTORY, PLOT, TEST = "spec.yaml", "weights.safetensors", "history.csv", "history.png", "test.json"
VERIFY, REPORT = "verify.json", "report.html"
Until = Literal["train", "export", "verify", "report"]

# Verification judges arithmetic, so it runs where float32 is float32: on the CPU (a GPU's TF32 has 10 bits).
ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}


@dataclass(frozen=True, slots=True)
class Options:
    """What a build is asked for beside the spec."""

    targets: tuple[str, ...] = BACKENDS
    """The backends to compile for."""
    trainer: str = "torch"
    """The backend that trains."""
    train: bool = True
    """Whether to train when the spec has a `train` section."""
    keep_weights: bool = False
    """Take the weights that the build folder already has for this network, however they came about."""
    device: str = "auto"
    """Where to train: `auto` (a GPU where there is one), `cpu`, `cuda:0`, ..."""
    folder: Path = Path("build")
    """The parent of the build folder."""
    seed: int | None = None
    """The seed of the initial weights; when not given the spec's training seed, or 0."""
    until: Until = "report"
    """The last stage to run."""


@dataclass(slots=True)
class Outcome:
    """What a build did."""

    folder: Path
    verdict: Verdict | None = None
    ran: list[str] = field(default_factory=list)
    """The stages that ran; the others were current."""
    test: Mapping[str, float] | None = None
    """Metrics on the test split, when there was training."""


def build(spec: Spec, options: Options, progress: Progress) -> Outcome:
    """Bring the build folder of a spec up to date.

    Raises SpecError for a spec that cannot be built, FolderError for a folder that cannot be written, BackendError
    for a backend that is missing or fails. A failed verification is no error here: it stands in the outcome.
    """
    network = compile_spec(spec)
    from netspec.weights import check_memory

    check_memory(network)
    trains = options.train and spec.train is not None
    backends = {name: find_backend(name) for name in (*options.targets, *([options.trainer] if trains else []))}
    folder = BuildFolder(options.folder / spec.name)
    run = _Run(spec, network, options, backends, folder, progress)
    with run:
        for last, stages in run.plan(trains):
            for stage in stages:
                stage()
            if last == options.until:
                break
    return run.outcome


class _Exported:
    """A worker that is called only when its artefacts are in place; raises what their export raised."""

    def __init__(self, worker: Worker, export: Future[None] | None) -> None:
        self._worker, self._export = worker, export

    def call(self, method: str, **arguments: Any) -> Any:
        if self._export is not None:
            self._export.result()
        return self._worker.call(method, **arguments)


class _Run(AbstractContextManager["_Run"]):
    """One build under way: its stages share the network, the folder and the workers."""

    def __init__(
        self,
        spec: Spec,
        network: Network,
        options: Options,
        backends: Mapping[str, Backend],
        folder: BuildFolder,
        progress: Progress,
    ) -> None:
        self.spec, self.network, self.options, self.backends = spec, network, options, backends
        self.folder, self.progress = folder, progress
        self.outcome = Outcome(folder.path)
        self.workers: dict[str, Worker] = {}
        self._closing = ExitStack()
        versions = {name: dict(backend.versions()) for name, backend in backends.items()}
        self.versions = {
            "netspec": __version__,
            **{key: value for each in versions.values() for key, value in each.items()},
        }
        folder.facts = {"name": spec.name, "spec": network.digest, "seed": self.seed, "versions": self.versions}

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    @property
    def seed(self) -> int:
        if self.options.seed is not None:
            return self.options.seed
        return self.spec.train.seed if self.spec.train is not None else 0

    def plan(self, trains: bool) -> Iterator[tuple[Until, Sequence[Callable[[], None]]]]:
        """The stages, in groups that end where a command may stop."""
        yield "train", [self.resolve, self.train if trains else self.draw]
        if self.options.until == "export":
            yield "export", [self.export]
        yield "verify", [self.verify]
        yield "report", [self.report]

    def worker(self, name: str) -> Worker:
        if name not in self.workers:
            self.workers[name] = self._closing.enter_context(Worker(name, environment=ON_CPU))
        return self.workers[name]

    def _stage(
        self, name: str, key: str | Callable[[], str], work: Callable[[Path], None], *, stale: bool = False
    ) -> None:
        """Run a stage unless it is current; a stage that is stale anyway may know its key only at its end."""
        if not stale and self.folder.current(name, key if isinstance(key, str) else key()):
            self.progress("current", stage=name)
            return
        self.progress("stage", stage=name)
        with self.folder.stage(name, key) as partial:
            work(partial)
        self.outcome.ran.append(name)
        self.progress("done", stage=name)

    def resolve(self) -> None:
        """The resolved spec."""
        document = resolved_spec(self.spec)

        def write(folder: Path) -> None:
            (folder / SPEC).write_text(write_yaml(document), encoding="utf-8")

        self._stage("spec", key_of(document=document, version=__version__), write)

    def draw(self) -> None:
        """Initial weights, or those that the folder already has for this network."""
        known = self.folder.stages.get("weights", {})
        fits = str(known.get("key", "")).startswith(self.network.digest)
        if self.options.keep_weights and fits and self.folder.intact("weights"):
            self.progress("current", stage="weights")
            return

        def write(folder: Path) -> None:
            for name in self.options.targets:
                self.worker(name)  # new weights will be exported: the frameworks may begin to load
            from netspec.weights import draw, save

            save(folder / WEIGHTS, draw(self.network, self.seed), self.network)

        self._stage("weights", self._weights_key(drawn=True), write)

    def _weights_key(self, **parts: Any) -> str:
        return self.network.digest + key_of(seed=self.seed, version=__version__, **parts)

    def train(self) -> None:
        """Trained weights, their history and their score on the test split."""
        data, settings = self.spec.data, self.spec.train
        assert data is not None
        assert settings is not None
        trainer = self.options.trainer
        if not isinstance(self.backends[trainer], Trainable):
            raise BackendError(f"the {trainer} backend cannot train\n  hint: --backend torch or --backend keras")
        key = self._weights_key(
            train=settings.model_dump(mode="json"),
            data=data.model_dump(mode="json"),
            trainer=trainer,
            versions=dict(self.backends[trainer].versions()),
        )

        def write(folder: Path) -> None:
            from netspec.data import load
            from netspec.training.evaluation import evaluate
            from netspec.training.history import write_history
            from netspec.training.plot import plot_history
            from netspec.weights import draw, save

            dataset = load(data, self.network)
            with Worker(trainer) as worker:
                weights, history = worker.call(
                    "train",
                    progress=self.progress,
                    network=self.network,
                    weights=draw(self.network, self.seed),
                    dataset=dataset,
                    settings=settings,
                    device=self.options.device,
                )
            save(folder / WEIGHTS, weights, self.network)
            write_history(folder / HISTORY, history)
            plot_history(history, folder / PLOT, settings.monitor, title=self.spec.name)
            if dataset.test is not None:
                outputs = self.worker(trainer).call(
                    "predict", network=self.network, weights=weights, inputs=dataset.test.images
                )
                last = self.network.nodes[-1].layer
                probable = isinstance(last, Activation) and last.function in ("sigmoid", "softmax")
                score = evaluate(outputs, dataset.test.labels, threshold=0.5 if probable else 0.0)
                (folder / TEST).write_text(json.dumps(score, indent=2) + "\n", encoding="utf-8")

        self._stage("weights", key, write)
        test = self.folder.path / TEST
        if test.is_file():
            self.outcome.test = json.loads(test.read_text(encoding="utf-8"))

    def export(self) -> None:
        """The artefacts of every target, side by side."""
        with self._exports() as exports:
            for done in exports.values():
                done.result()

    @contextmanager
    def _exports(self) -> Iterator[Mapping[str, Future[None]]]:
        """The export of every target that is not current, under way."""
        from netspec.weights import load

        weights = load(self.folder.path / WEIGHTS, self.network)
        settings = self.spec.export or ExportSettings()
        keys = {name: self._export_key(name, settings) for name in self.options.targets}

        def one(name: str) -> None:
            def write(folder: Path) -> None:
                (folder / name).mkdir()
                self.worker(name).call(
                    "export", network=self.network, weights=weights, folder=folder / name, settings=settings
                )

            self._stage(f"export {name}", keys[name], write)

        with ThreadPoolExecutor(len(self.options.targets)) as threads:
            exports = {}
            for name, key in keys.items():
                if self.folder.current(f"export {name}", key):
                    self.progress("current", stage=f"export {name}")
                else:
                    exports[name] = threads.submit(one, name)
            yield exports

    def _export_key(self, name: str, settings: ExportSettings) -> str:
        return key_of(
            spec=self.network.digest,
            about=self.network.about,
            weights=sha256(self.folder.path / WEIGHTS),
            settings=settings.model_dump(mode="json"),
            versions=dict(self.backends[name].versions()),
            netspec=__version__,
        )

    def verify(self) -> None:
        """The proof, of each backend as soon as its artefacts are there: every one against the meaning of the spec."""
        from netspec.verify import verify
        from netspec.verify.result import Verdict
        from netspec.verify.settings import VerifySettings
        from netspec.weights import load

        settings = self.spec.verify or VerifySettings()

        def key() -> str:
            files = self.folder.files([f"export {name}" for name in self.options.targets])
            return key_of(files=files, settings=settings.model_dump(mode="json"), versions=self.versions)

        with self._exports() as exports:

            def write(folder: Path) -> None:
                weights = load(self.folder.path / WEIGHTS, self.network)
                callers = {name: _Exported(self.worker(name), exports.get(name)) for name in self.options.targets}
                verdict = verify(self.network, weights, self.folder.path, settings, callers)
                (folder / VERIFY).write_text(verdict.to_json(), encoding="utf-8")

            self._stage("verify", key, write, stale=bool(exports))
            for done in exports.values():
                error = done.exception()
                # A worker that failed or died stands in the verdict; anything else stops the build.
                if error is not None and not isinstance(error, (WorkerDied, WorkerFailed)):
                    raise error
        self.outcome.verdict = Verdict.from_json((self.folder.path / VERIFY).read_text(encoding="utf-8"))

    def report(self) -> None:
        """The page for people."""
        from netspec.report.page import report_page

        verdict = self.outcome.verdict
        assert verdict is not None

        def write(folder: Path) -> None:
            plot = self.folder.path / PLOT
            page = report_page(
                self.network,
                verdict,
                self.versions,
                self.folder.files(),
                plot if plot.is_file() else None,
                self.outcome.test,
            )
            (folder / REPORT).write_text(page, encoding="utf-8")

        files = {name: digest for name, digest in self.folder.files().items() if name != REPORT}
        self._stage("report", key_of(files=files, versions=self.versions), write)
