"""The main job: weights, training, artefacts of every backend, and the proof that they are equal, stage by stage.

Each stage is keyed by what it reads; a stage whose key and files are as they were is not run again.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from netspec import __version__
from netspec.backend import Backend, ExportSettings, Progress, Trainable, find_backend
from netspec.compile import compile_spec
from netspec.compile.pixels import exported_network, trained_network
from netspec.compile.resolved import resolved_spec
from netspec.data.folder import split_folders
from netspec.data.source import fingerprint
from netspec.errors import BackendError, Problem, SpecError, VerificationError
from netspec.golden import check_golden
from netspec.initial import Start
from netspec.layers import Activation
from netspec.memory import check_memory, fits_together
from netspec.network import Network
from netspec.spec.model import Spec
from netspec.spec.write import write_yaml
from netspec.stages import BuildFolder, Stage, key_of, other_spec, read_stages
from netspec.training.checkpoint import CheckpointFile
from netspec.verify import lockstep, verify
from netspec.verify.pieces import piece_samples
from netspec.verify.result import Verdict
from netspec.verify.settings import VerifySettings
from netspec.weights import load, save
from netspec.worker import Worker, WorkerDied, WorkerFailed

if TYPE_CHECKING:
    from netspec.backend import Array, Weights
    from netspec.training.settings import Monitor, TrainSettings

BACKENDS = ("torch", "keras", "onnx")
SPEC, WEIGHTS, HISTORY, PLOT, TEST = "spec.yaml", "weights.safetensors", "history.csv", "history.png", "test.json"
CHECKPOINT = "checkpoint.safetensors"
VERIFY, REPORT = "verify.json", "report.html"
Until = Literal["train", "export", "report"]

# Verification judges arithmetic, so it runs where float32 is float32: on the CPU (a GPU's TF32 has 10 bits). Each of
# the backends and the reference has its share of the cores: threads that wait for others in turns take them away.
SHARE = str(max(1, (os.cpu_count() or 1) // (len(BACKENDS) + 1)))
ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": SHARE, "OPENBLAS_NUM_THREADS": SHARE}
# TensorFlow's allocator for oneDNN keeps whatever memory it once had (4 GiB for VGG-16, 1.2 GiB without it).
SPARING = {"TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "0")}


@dataclass(frozen=True, slots=True)
class Options:
    """What a build is asked for beside the spec."""

    targets: tuple[str, ...] = BACKENDS
    """The backends to compile for."""
    trainer: str = "torch"
    """The backend that trains."""
    train: bool = True
    """Whether to train when the spec has a `train` section."""
    judge: bool = False
    """Whether files that were changed since they were exported are a failed verification, not something to replace."""
    device: str = "auto"
    """Where to train: `auto` (a GPU where there is one), `cpu`, `cuda:0`, ..."""
    folder: Path = Path("build")
    """The parent of the build folder."""
    seed: int | None = None
    """The seed of the initial weights; when not given that of the weights that are there, the spec's, or 0."""
    train_steps: int | None = None
    """How many updates the backends train in lock-step; the spec's `verify.train_steps` when not given."""
    weights: Path | None = None
    """A file to take the initial weights from, all of them, instead of drawing them."""
    until: Until = "report"
    """The last stage to run."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best epoch of a training: its row of the history, how many there were, and by what it is the best."""

    epoch: Mapping[str, float]
    epochs: int
    monitor: str


@dataclass(slots=True)
class Outcome:
    """What a build did."""

    folder: Path
    verdict: Verdict | None = None
    ran: list[str] = field(default_factory=list)
    """The stages that ran; the others were current."""
    test: Mapping[str, float] | None = None
    """Metrics on the test split, when there was training."""
    best: Best | None = None
    """The epoch whose weights were kept, when there was training."""


def build(spec: Spec, options: Options, progress: Progress) -> Outcome:
    """Bring the build folder of a spec up to date.

    Raises SpecError for a spec that cannot be built, FolderError for a folder that cannot be written, BackendError
    for a backend that is missing or fails, VerificationError for an artefact that is not what was exported. A failed
    verification is no error here: it stands in the outcome.
    """
    if spec.classes is None and spec.data is not None and spec.data.folder is not None:
        with spec.places():
            split_folders(spec.data, Path(spec.file).parent)  # raises, for there it would have had them from
    network = compile_spec(spec)
    settings = spec.verify or VerifySettings()
    if options.train_steps is not None:
        settings = settings.model_copy(update={"train_steps": options.train_steps})
    if settings.train_steps:
        _check_lockstep(spec, network, options)
    check_memory(network, piece_samples(network, settings.samples) if options.until == "report" else 0)
    if options.until == "report":
        check_golden(spec, network)
    trains = options.train and spec.train is not None
    backends = {name: find_backend(name) for name in (*options.targets, *([options.trainer] if trains else []))}
    if options.weights is not None and options.seed is not None and not trains:
        message = f"--seed {options.seed} draws weights, but --weights {options.weights} gives all of them"
        raise SpecError([Problem(message, "leave one of the two out")])
    start = Start(spec, network, options.weights)
    known = read_stages(options.folder / spec.name).get("weights")
    if trains or not _keeps(known, network, options):
        _check_start(start, known)
    other = other_spec(options.folder / spec.name, spec.file)
    folder = BuildFolder(options.folder / spec.name)
    if other is not None:
        hint = "give one of the two another `name:`, or build elsewhere with --output"
        progress("warning", text=f"{folder.path} was made of {other}, a spec of the same name", hint=hint)
    try:
        with _Run(start, options, settings, backends, folder, progress) as run:
            for last, stages in run.plan(trains):
                for stage in stages:
                    stage()
                if last == options.until:
                    break
            return run.outcome
    except MemoryError as error:
        raise BackendError("the memory did not suffice\n  hint: a smaller input, or fewer `verify.inputs`") from error
    finally:
        folder.close()


def _keeps(known: Stage | None, network: Network, options: Options) -> bool:
    """Whether a build that does not train leaves the weights of the folder as they are: trained ones always, those of
    a file until it is told otherwise.
    """
    facts = known.facts if known else {}
    imported = facts.get("imported", {}).get("all") and facts.get("network") == network.digest
    return bool(facts.get("trained") or (imported and options.weights is None and options.seed is None))


def _check_start(start: Start, known: Stage | None) -> None:
    """Raise SpecError for a file of weights that does not fit, before anything is written; one that the folder has
    weights of has been read before.
    """
    facts = known.facts if known else {}
    if start.facts and (facts.get("imported"), facts.get("network")) != (start.facts, start.network.digest):
        _ = start.imported


def _training(spec: Spec, network: Network) -> TrainSettings:
    """The training that is verified: the spec's, or one by default with a loss that suits the network's end."""
    from netspec.training.settings import TrainSettings

    last = network.nodes[-1].layer
    sigmoid = isinstance(last, Activation) and last.function == "sigmoid"
    default = {"loss": "binary_cross_entropy" if sigmoid else "cross_entropy"}
    return spec.train or TrainSettings.model_validate(default)


def _trains(backend: Backend) -> bool:
    return isinstance(backend, Trainable)


def _check_lockstep(spec: Spec, network: Network, options: Options) -> None:
    """Raise SpecError where nothing can be trained in lock-step."""
    from netspec.training.loss import check_loss

    check_loss(network, _training(spec, network).loss)
    if not any(_trains(find_backend(name)) for name in options.targets):
        message = f"--train-steps needs a backend that trains, but the targets are {', '.join(options.targets)}"
        raise SpecError([Problem(message, "--targets torch,keras", "--targets")])
    if not network.trainable:
        raise SpecError([Problem("no row has weights that are trained", "--train-steps 0", "verify.train_steps")])


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
        start: Start,
        options: Options,
        settings: VerifySettings,
        backends: Mapping[str, Backend],
        folder: BuildFolder,
        progress: Progress,
    ) -> None:
        self.start, self.options, self.verified, self.backends = start, options, settings, backends
        spec, network = self.spec, self.network = start.spec, start.network
        self.exported = exported_network(spec, network)
        self.folder, self.progress = folder, progress
        self.outcome = Outcome(folder.path)
        self.workers: dict[str, Worker] = {}
        self.training: Worker | None = None
        """The worker that trains, while it does."""
        self._closing = ExitStack()
        self.libraries = {name: dict(backend.versions()) for name, backend in backends.items()}
        self.versions = {"netspec": __version__}
        for versions in self.libraries.values():
            self.versions |= versions
        folder.facts = {"name": spec.name, "network": network.digest, "versions": self.versions}
        if Path(spec.file).is_file():
            folder.facts["spec"] = os.path.relpath(Path(spec.file).resolve(), folder.path.resolve())

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, self._interrupt)
            self._closing.callback(signal.signal, signal.SIGINT, before)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _interrupt(self, *_: object) -> None:
        if self.training is not None:
            # Once: it ends after the step under way, with a checkpoint. Who asks again does not want to wait.
            worker, self.training = self.training, None
            worker.interrupt()
            return
        # Threads wait for the workers, and the interpreter waits for the threads: nothing ends before they do.
        for worker in list(self.workers.values()):
            worker.kill()
        raise KeyboardInterrupt

    def plan(self, trains: bool) -> Iterator[tuple[Until, Sequence[Callable[[], None]]]]:
        """The stages, in groups that end where a command may stop."""
        yield "train", [self.train if trains else self.keep_or_draw, self.know_weights, self.resolve]
        if self.options.until == "export":
            yield "export", [self.drop_outdated, self.export]
        yield "report", [self.drop_outdated, self.verify, self.report]

    def worker(self, name: str, environment: dict[str, str] = ON_CPU) -> Worker:
        if name not in self.workers:
            if environment is ON_CPU and not fits_together(self.network):
                environment = {**SPARING, **ON_CPU}
            self.workers[name] = self._closing.enter_context(Worker(name, environment))
        return self.workers[name]

    def _stage(
        self,
        name: str,
        key: str | Callable[[], str],
        work: Callable[[Path], None],
        *,
        facts: Mapping[str, Any] | None = None,
        stale: bool = False,
    ) -> None:
        """Run a stage unless it is current; a stage that is stale anyway may know its key only at its end."""
        if not stale and self.folder.current(name, key if isinstance(key, str) else key()):
            self.progress("current", stage=name)
            return
        self.progress("stage", stage=name)
        with self.folder.stage(name, key, facts) as partial:
            work(partial)
        self.outcome.ran.append(name)
        self.progress("done", stage=name)

    def resolve(self) -> None:
        """The resolved spec."""
        document = resolved_spec(self.spec)

        def write(folder: Path) -> None:
            (folder / SPEC).write_text(write_yaml(document), encoding="utf-8")

        self._stage("spec", key_of(document=document, version=__version__), write)

    def keep_or_draw(self) -> None:
        """The weights that the folder has for this network, or initial ones; trained weights are never replaced."""
        known = self.folder.stages.get("weights")
        facts = known.facts if known else {}
        fits = facts.get("network") == self.network.digest
        if _keeps(known, self.network, self.options):
            self._check_kept(facts, fits=fits)
            self.progress("current", stage="weights")
            return
        kept = facts.get("seed") if fits else None
        seed = next(
            seed
            for seed in (self.options.seed, kept, self.spec.train.seed if self.spec.train else 0)
            if seed is not None
        )

        def write(folder: Path) -> None:
            for name in self.options.targets:
                self.worker(name)  # new weights will be exported: the frameworks may begin to load
            save(folder / WEIGHTS, self.start.weights(seed), self.network)

        facts = {"network": self.network.digest, "trained": False, "seed": seed, **self._imported()}
        if self.start.facts.get("all"):
            facts["seed"] = None  # none was drawn from
        self._stage("weights", self._weights_key(facts), write, facts=facts)

    def _imported(self) -> dict[str, Any]:
        """What is to be known of a file of initial weights."""
        return {"imported": self.start.facts} if self.start.facts else {}

    def _weights_key(self, facts: Mapping[str, Any], **versions: Any) -> str:
        """The key of weights of which this is to be known; a file counts by what it holds, whatever its name."""
        imported = {name: value for name, value in facts.get("imported", {}).items() if name != "file"}
        return key_of(**{**facts, "imported": imported}, **versions, version=__version__)

    def _check_kept(self, facts: Mapping[str, Any], *, fits: bool) -> None:
        """Raise SpecError where the folder's trained or imported weights cannot be used as they are."""
        path, trained = self.folder.path, facts.get("trained")
        again = f"train again with `netspec build {self.spec.file}`, or work in another folder with --output"
        if not trained:
            again = f"import it again with --weights {facts['imported']['file']}, or draw weights with --seed"
        if not fits:
            raise SpecError(
                [Problem(f"{path} has weights that were trained for another version of this network", again)]
            )
        if WEIGHTS in self.folder.changed("weights"):
            since = "the training" if trained else "the import"
            raise SpecError([Problem(f"{path / WEIGHTS} is missing or was changed after {since}", again)])
        if self.options.weights is not None:
            message = f"--weights {self.options.weights}, but {path} has weights that were trained"
            raise SpecError([Problem(message, "work in another folder with --output")])
        if self.options.seed not in (None, facts.get("seed")):
            message = (
                f"--seed {self.options.seed}, but {path} has weights that were trained from seed {facts.get('seed')}"
            )
            raise SpecError([Problem(message, again)])

    def know_weights(self) -> None:
        """What is to be known of the weights: their seed, and the score of trained ones on the test split."""
        known = self.folder.stages["weights"]
        self.folder.facts |= {name: known.facts.get(name) for name in ("seed", "trained")}
        if HISTORY in known.files and HISTORY not in self.folder.changed("weights"):
            self.outcome.best = self._best(known.facts["train"]["monitor"])
        if TEST in known.files and TEST not in self.folder.changed("weights"):
            self.outcome.test = json.loads((self.folder.path / TEST).read_text(encoding="utf-8"))

    def _best(self, monitor: Monitor) -> Best:
        """The best epoch of the history that lies in the folder."""
        from netspec.training.history import best_epoch, read_history

        history = read_history(self.folder.path / HISTORY)
        number = best_epoch(history, monitor)
        return Best(next(row for row in history if row["epoch"] == number), len(history), monitor)

    def train(self) -> None:
        """Trained weights, their history and their score on the test split."""
        data, settings = self.spec.data, self.spec.train
        assert data is not None
        assert settings is not None
        trainer = self.options.trainer
        if not isinstance(self.backends[trainer], Trainable):
            raise BackendError(f"the {trainer} backend cannot train\n  hint: --backend torch or --backend keras")
        seed = settings.seed if self.options.seed is None else self.options.seed
        with self.spec.places():
            known = fingerprint(data, self.near)
        facts = {
            "network": self.network.digest,
            "trained": True,
            "seed": seed,
            "train": settings.model_dump(mode="json"),
            "data": data.model_dump(mode="json") | known,
            "preprocess": self.spec.preprocess.model_dump(mode="json") if self.spec.preprocess else None,
            "trainer": trainer,
            **self._imported(),
        }
        key = self._weights_key(facts, versions=self.libraries[trainer])

        if self._trained_already(key, settings):
            return
        checkpoint = CheckpointFile(self.folder.path / CHECKPOINT, key)

        def write(folder: Path) -> None:
            from netspec.data import load as load_data
            from netspec.data.batches import check_batch_size
            from netspec.training.history import write_history
            from netspec.training.plot import plot_history

            with self.spec.places():
                dataset = load_data(data, self.network, self.near, self.spec.preprocess, self.progress)
                check_batch_size(settings.batch_size, len(dataset.train))
            network = trained_network(self.spec, self.network)
            self.training = worker = self.worker(trainer, {})
            weights, history = worker.call(
                "train",
                progress=self.progress,
                network=network,
                weights=self.start.weights(seed),
                dataset=dataset,
                settings=settings,
                device=self.options.device,
                checkpoint=checkpoint,
            )
            self.training = None
            save(folder / WEIGHTS, weights, self.network)
            write_history(folder / HISTORY, history)
            plot_history(history, folder / PLOT, settings.monitor, title=self.spec.name)
            if dataset.test is not None:
                images = dict.fromkeys(self.network.inputs, dataset.test.images)
                outputs = worker.call("predict", network=network, weights=weights, inputs=images)
                score = self._score(next(iter(outputs.values())), dataset.test.labels)
                (folder / TEST).write_text(json.dumps(score, indent=2) + "\n", encoding="utf-8")
            # What follows is judged on the CPU, by a worker that never saw another device.
            worker.close()
            del self.workers[trainer]

        self._stage("weights", key, write, facts=facts)
        checkpoint.discard()

    @property
    def near(self) -> Path:
        """The folder that the spec lies in."""
        return Path(self.spec.file).parent

    def _trained_already(self, key: str, settings: TrainSettings) -> bool:
        """Whether these weights are there; a plot that is not is drawn again, which is no reason to train again."""
        known = self.folder.stages.get("weights")
        lost = self.folder.changed("weights")
        if known is None or known.key != key or not set(lost) <= {PLOT}:
            return False
        if lost:
            from netspec.training.history import read_history
            from netspec.training.plot import plot_history

            history = read_history(self.folder.path / HISTORY)
            plot_history(history, self.folder.path / PLOT, settings.monitor, title=self.spec.name)
        self.progress("current", stage="weights")
        return True

    def _score(self, outputs: Array, labels: Array) -> dict[str, float]:
        from netspec.training.evaluation import evaluate

        last = self.network.nodes[-1].layer
        probable = isinstance(last, Activation) and last.function in ("sigmoid", "softmax")
        assert self.spec.train is not None
        return evaluate(outputs, labels, threshold=0.5 if probable else 0.0, chosen=self.spec.train.metrics)

    @cached_property
    def weights(self) -> Weights:
        """The weights of the folder, once their stage has run."""
        return load(self.folder.path / WEIGHTS, self.network)

    @property
    def weights_digest(self) -> str:
        """The sha256 of the weights' file, which their stage has just written or looked at."""
        return self.folder.stages["weights"].files[WEIGHTS]

    def drop_outdated(self) -> None:
        """Remove what earlier builds exported, for backends not asked for now, from other weights than these."""
        for name, stage in list(self.folder.stages.items()):
            if name.startswith("export ") and stage.facts.get("weights") != self.weights_digest:
                self.folder.drop(name)

    def export(self) -> None:
        """The artefacts of every target, side by side."""
        with self._exports() as exports:
            for done in exports.values():
                done.result()

    @contextmanager
    def _exports(self) -> Iterator[Mapping[str, Future[None]]]:
        """The export of every target that is not current, under way."""
        settings = self.spec.export or ExportSettings()
        keys = {name: self._export_key(name, settings) for name in self.options.targets}
        self._check_exported(keys)
        weights = self.weights

        def one(name: str) -> None:
            def write(folder: Path) -> None:
                (folder / name).mkdir()
                self.worker(name).call(
                    "export", network=self.exported, weights=weights, folder=folder / name, settings=settings
                )

            self._stage(f"export {name}", keys[name], write, facts={"weights": self.weights_digest})

        with ThreadPoolExecutor(len(self.options.targets) if fits_together(self.network) else 1) as threads:
            exports = {}
            for name, key in keys.items():
                if self.folder.current(f"export {name}", key):
                    self.progress("current", stage=f"export {name}")
                else:
                    exports[name] = threads.submit(one, name)
            yield exports

    def _check_exported(self, keys: Mapping[str, str]) -> None:
        """Raise VerificationError where `netspec verify` would have to replace what it is asked to judge."""
        if not self.options.judge:
            return
        for name, key in keys.items():
            known = self.folder.stages.get(f"export {name}")
            if known is not None and known.key == key:
                for file in self.folder.changed(f"export {name}"):
                    raise VerificationError(
                        f"{self.folder.path / file} is not the file that was exported: it is missing or was changed\n"
                        f"  hint: `netspec build {self.spec.file}` writes it anew"
                    )

    def _export_key(self, name: str, settings: ExportSettings) -> str:
        return key_of(
            spec=self.exported.digest,
            about=self.exported.about,
            weights=self.weights_digest,
            settings=settings.model_dump(mode="json"),
            versions=self.libraries[name],
            netspec=__version__,
        )

    def verify(self) -> None:
        """The proof, of each backend as soon as its artefacts are there: every one against the meaning of the spec."""
        settings, training = self.verified, _training(self.spec, self.network) if self.verified.train_steps else None
        verdicts: list[Verdict] = []

        def key() -> str:
            if verdicts and not verdicts[0].passed:
                return ""  # never current: a worker that died, or a file since mended, deserves another look
            files = self.folder.files([f"export {name}" for name in self.options.targets])
            plain = [each.model_dump(mode="json") if each else None for each in (settings, training)]
            return key_of(files=files, settings=plain, versions=self.versions)

        with self._exports() as exports:

            def write(folder: Path) -> None:
                callers = {name: _Exported(self.worker(name), exports.get(name)) for name in self.options.targets}
                verdict = verify(self.exported, self.weights, self.folder.path, settings, callers)
                if training is not None:
                    learners = {
                        name: self.worker(name) for name in self.options.targets if _trains(self.backends[name])
                    }
                    network = trained_network(self.spec, self.network)
                    verdict = verdict.trained(lockstep(network, self.weights, training, settings, learners))
                verdicts.append(verdict)
                (folder / VERIFY).write_text(verdicts[0].to_json(), encoding="utf-8")

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
            origin = self.folder.stages["weights"].facts
            drawn = plot if PLOT in self.folder.files(["weights"]) and plot.is_file() else None
            page = report_page(
                self.exported, verdict, self.versions, self.folder.files(), drawn, self.outcome.test, origin
            )
            (folder / REPORT).write_text(page, encoding="utf-8")

        files = {name: digest for name, digest in self.folder.files().items() if name != REPORT}
        self._stage("report", key_of(files=files, versions=self.versions), write)
