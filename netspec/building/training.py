"""The stage of trained weights: their history, its plot, and their score on the test split."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.backend import Trainable
from netspec.building.run import Run
from netspec.building.weights import imported_facts, weights_key, weights_parts
from netspec.compile.pixels import trained_network
from netspec.data.source import fingerprint
from netspec.errors import BackendError
from netspec.progress import Progress
from netspec.storage.stages import BESTS, CHECKPOINT, CONFUSION, EVALUATION, HISTORY, PLOT, TENSORBOARD, WEIGHTS
from netspec.training.checkpoint import CheckpointFile
from netspec.training.history import DivergedError
from netspec.training.ranks import place_of
from netspec.weights import save

if TYPE_CHECKING:
    from netspec.backend.worker import Worker
    from netspec.data.dataset import Dataset
    from netspec.inference.evaluation import Evaluation
    from netspec.tensors import Weights
    from netspec.training.settings import TrainSettings
    from netspec.training.tensorboard import EpochLog


def train(run: Run) -> None:
    """Trained weights, their history and their score on the test split."""
    data, settings = run.spec.data, run.spec.train
    assert data is not None
    assert settings is not None
    trainer = run.options.trainer
    if not isinstance(run.backends[trainer], Trainable):
        raise BackendError(f"the {trainer} backend cannot train\n  hint: --backend torch or --backend keras")
    seed = settings.seed if run.options.seed is None else run.options.seed
    with run.spec.places():
        known = fingerprint(data, run.near)
    facts = {
        "network": run.network.digest,
        "trained": True,
        "seed": seed,
        "train": settings.model_dump(mode="json"),
        "data": data.model_dump(mode="json") | known,
        "preprocess": run.spec.preprocess.model_dump(mode="json") if run.spec.preprocess else None,
        "trainer": trainer,
        **imported_facts(run),
    }
    key = weights_key(facts, versions=run.libraries[trainer])

    checkpoint = CheckpointFile(run.folder.path / CHECKPOINT, key, _parts(run, facts))
    if _trained_already(run, key, settings):
        if checkpoint.is_own():  # of a build that ended between its weights and this; that of another one is kept
            checkpoint.discard()
        if place_of(os.environ) is not None:
            run.worker(trainer, {}).call("dismiss")
            run.workers.pop(trainer).close()
        return

    values: dict[str, list[float]] = {}

    def write(folder: Path) -> None:
        from netspec.data import load as load_data
        from netspec.data.batches import check_batch_size
        from netspec.data.values import trained_values
        from netspec.report.confusion import draw_confusion
        from netspec.training.history import write_history
        from netspec.training.plot import plot_history
        from netspec.training.tensorboard import EpochLog

        with run.spec.places():
            dataset = load_data(data, run.network, run.near, run.spec.preprocess, run.progress)
            check_batch_size(settings.batch_size, len(dataset.train))
        values.update(trained_values(dataset.train.images, run.spec.preprocess))
        network = trained_network(run.spec, run.network)
        run.training = worker = run.worker(trainer, {})
        best = _begin(run, checkpoint)
        resumed = checkpoint.path.exists()
        log = EpochLog(run.folder.path / TENSORBOARD, key, run.progress)
        with _logged(run, log, resumed=resumed) as progress, _best_kept(run, settings, best):
            weights, history = worker.call(
                "train",
                progress=progress,
                network=network,
                weights=run.start.weights(seed),
                dataset=dataset,
                settings=settings,
                device=run.options.device,
                checkpoint=checkpoint,
            )
        run.trained()
        if resumed and run.options.tensorboard:
            log.write(history)  # not all were followed
        save(folder / WEIGHTS, weights, run.network)
        write_history(folder / HISTORY, history)
        plot_history(history, folder / PLOT, settings.monitor, title=run.spec.name)
        found = _evaluation(run, worker, weights, dataset)
        (folder / EVALUATION).write_text(json.dumps(found.document()) + "\n", encoding="utf-8")
        draw_confusion(found, folder / CONFUSION, run.spec.name)
        # What follows is judged on the CPU, by a worker that never saw another device.
        worker.close()
        del run.workers[trainer]

    # The checkpoint is all that there is of the training until the disk has the weights.
    run.stage("weights", key, write, facts=lambda: {**facts, "values": values}, durable=True)
    checkpoint.discard()
    _drop(_other_bests(run))


def _begin(run: Run, checkpoint: CheckpointFile) -> Path:
    """Leave nothing of another training that diverged: its best epoch only where this one begins with it, and then its
    checkpoint neither. The path is where this one keeps its own best epoch, if it diverges.
    """
    others = _other_bests(run)
    if len(others) < len(BESTS):
        left = checkpoint.left_by()
        # One that began with the same file is no training before it: it goes on, or what has changed is said.
        if left is not None and left.get("imported", {}).get("sha256") != run.start.facts["sha256"]:
            checkpoint.discard()
            run.progress("anew", file=run.start.file)
    if not checkpoint.path.exists():  # with one this goes on, or is refused
        _drop(others)
    return others[0]


def _other_bests(run: Run) -> list[Path]:
    """Where a training that diverges may leave its best epoch: not in the file that this one begins with."""
    paths, file = [run.folder.path / name for name in BESTS], run.start.file
    return [path for path in paths if file is None or path.resolve() != file.resolve()]


def _drop(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _parts(run: Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the key of the weights is made of, the network as its layers, which a digest does not tell."""
    rows = {
        node.name: {"kind": node.layer.kind, "reads": list(node.inputs), "frozen": node.frozen, **node.layer.plain()}
        for node in run.network.nodes
    }
    parts = weights_parts(facts, versions=run.libraries[run.options.trainer])
    inputs = {name: str(given) for name, given in run.network.inputs.items()}
    return {"inputs": inputs, "layers": rows} | {name: part for name, part in parts.items() if name != "network"}


def _evaluation(run: Run, worker: Worker, weights: Weights, dataset: Dataset) -> Evaluation:
    """What the trained network makes of the test images, or of those to validate on where there are none."""
    from netspec.inference.evaluation import judge_outputs

    settings = run.spec.train
    assert settings is not None
    split, part = ("validation", dataset.validation) if dataset.test is None else ("test", dataset.test)
    images = dict.fromkeys(run.network.inputs, part.images)
    found = worker.call("predict", network=trained_network(run.spec, run.network), weights=weights, inputs=images)
    [outputs] = found.values()
    names = run.network.classes or dataset.classes
    judged = judge_outputs(outputs, part.labels, run.network, settings.loss, names, data=dataset.name, split=split)
    always = (name for name in judged.metrics if name == "loss" or name.endswith("accuracy"))
    return judged.only([*always, *(name for name in settings.metrics if not name.endswith("accuracy"))])


@contextmanager
def _best_kept(run: Run, settings: TrainSettings, path: Path) -> Iterator[None]:
    """A training that diverges leaves the weights of its best epoch in that file, and says so, or why it cannot."""
    try:
        yield
    except DivergedError as diverged:
        if not diverged.weights:
            raise
        try:
            save(path, diverged.weights, run.network)
        except OSError as error:
            raise diverged.not_kept_at(path, settings.monitor, error) from None
        raise diverged.kept_at(path, settings.monitor) from None


@contextmanager
def _logged(run: Run, log: EpochLog, *, resumed: bool) -> Iterator[Progress]:
    """The progress of a training, whose epochs are logged for TensorBoard too where that was asked for."""
    if not run.options.tensorboard:
        log.forget()  # it tells of other weights, or of a part of the epochs
        yield run.progress
        return
    log.begin(goes_on=resumed)

    def progress(event: str, **values: Any) -> None:
        if event == "epoch":
            log.add(values)
        run.progress(event, **values)

    try:
        yield progress
        if not resumed:
            log.end()
    finally:
        log.close()


def _log_anew(run: Run, key: str) -> None:
    """Leave no log beside the weights that is another training's or a part of theirs: the whole one where it is asked
    for, else none.
    """
    from netspec.training.history import read_history
    from netspec.training.tensorboard import EpochLog

    log = EpochLog(run.folder.path / TENSORBOARD, key, run.progress)
    if log.whole:
        return
    if run.options.tensorboard:
        log.write(read_history(run.folder.path / HISTORY))
    else:
        log.forget()


def _trained_already(run: Run, key: str, settings: TrainSettings) -> bool:
    """Whether these weights are there, and are to stay; a picture that is not is drawn again, which is no reason to
    train again.
    """
    known = run.folder.stages.get("weights")
    lost = run.folder.changed("weights")
    if run.options.forces("weights") or known is None or known.key != key or not set(lost) <= {PLOT, CONFUSION}:
        return False
    if PLOT in lost:
        from netspec.training.history import read_history
        from netspec.training.plot import plot_history

        history = read_history(run.folder.path / HISTORY)
        plot_history(history, run.folder.path / PLOT, settings.monitor, title=run.spec.name)
    _log_anew(run, key)
    if CONFUSION in lost:
        from netspec.inference.evaluation import Evaluation
        from netspec.report.confusion import draw_confusion

        document = json.loads((run.folder.path / EVALUATION).read_text(encoding="utf-8"))
        draw_confusion(Evaluation.of(document), run.folder.path / CONFUSION, run.spec.name)
    run.progress("current", stage="weights")
    return True
