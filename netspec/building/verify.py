"""The stage of the proof."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.backend import Backend, Trainable, find_backend
from netspec.backend.worker import Worker, WorkerDied, WorkerFailed
from netspec.building.export import exporting
from netspec.building.options import Options
from netspec.building.run import Run
from netspec.compile.pixels import trained_network
from netspec.errors import Problem, SpecError
from netspec.network import Network
from netspec.spec.model import Spec
from netspec.storage.stages import VERIFY, key_of
from netspec.verify import lockstep, verify
from netspec.verify.result import Verdict

if TYPE_CHECKING:
    from netspec.tensors import Array
    from netspec.training.settings import TrainSettings


def _training(spec: Spec, network: Network) -> TrainSettings:
    """The training that is verified: the spec's, or one by default with a loss that suits the network's end."""
    from netspec.training.loss import default_loss
    from netspec.training.settings import TrainSettings

    return spec.train or TrainSettings(loss=default_loss(network))


def _trains(backend: Backend) -> bool:
    return isinstance(backend, Trainable)


def check_lockstep(spec: Spec, network: Network, options: Options) -> None:
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def real_images(spec: Spec, network: Network, runs: Network) -> dict[str, Array]:
    """The first images of the data of a spec, where they are at hand, as the network that `runs` reads them."""
    if spec.data is None:
        return {}
    from netspec.data.few import few_images
    from netspec.verify.samples import REAL

    return few_images(spec.data, network, runs, Path(spec.file).parent, spec.preprocess, REAL)


def prove(run: Run) -> None:
    """The proof, of each backend as soon as its artefacts are there: every one against the meaning of the spec."""
    settings, training = run.verified, _training(run.spec, run.network) if run.verified.train_steps else None
    verdicts: list[Verdict] = []
    real = real_images(run.spec, run.network, run.exported)

    def key() -> str:
        if verdicts and not verdicts[0].passed:
            return ""  # never current: a worker that died, or a file since mended, deserves another look
        files = run.folder.files([f"export {name}" for name in run.options.targets])
        plain = [each.model_dump(mode="json") if each else None for each in (settings, training)]
        images = {name: sha256(batch.tobytes()).hexdigest() for name, batch in real.items()}
        return key_of(files=files, settings=plain, images=images, versions=run.versions)

    with exporting(run) as exports:

        def write(folder: Path) -> None:
            callers = {name: _Exported(run.worker(name), exports.get(name)) for name in run.options.targets}
            verdict = verify(run.exported, run.weights, run.folder.path, settings, callers, real)
            if training is not None:
                learners = {name: run.worker(name) for name in run.options.targets if _trains(run.backends[name])}
                network = trained_network(run.spec, run.network)
                verdict = verdict.trained(lockstep(network, run.weights, training, settings, learners))
            verdicts.append(verdict)
            (folder / VERIFY).write_text(verdicts[0].to_json(), encoding="utf-8")

        run.stage("verify", key, write, facts=lambda: {"proven_at": _now()}, stale=bool(exports))
        for done in exports.values():
            error = done.exception()
            # A worker that failed or died stands in the verdict; anything else stops the build.
            if error is not None and not isinstance(error, (WorkerDied, WorkerFailed)):
                raise error
    noted = run.folder.stages["verify"].facts.get("proven_at")
    run.outcome.proven_at = datetime.fromisoformat(noted) if noted else None
    run.outcome.verdict = Verdict.from_json((run.folder.path / VERIFY).read_text(encoding="utf-8"))
