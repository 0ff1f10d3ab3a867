"""The stage of trained weights: their history, its plot, and their score on the test split."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.backend import Trainable
from netspec.building.run import Run
from netspec.building.weights import imported_facts, weights_key, weights_parts
from netspec.compile.pixels import trained_network
from netspec.data.source import fingerprint
from netspec.errors import BackendError
from netspec.storage.stages import CONFUSION, EVALUATION, HISTORY, PLOT, WEIGHTS
from netspec.training.folder import TrainingFolder
from netspec.training.ranks import place_of
from netspec.weights import save

if TYPE_CHECKING:
    from netspec.data.dataset import Dataset
    from netspec.inference.evaluation import Evaluation
    from netspec.tensors import Weights
    from netspec.training.history import Row
    from netspec.training.settings import TrainSettings

    History = Sequence[Row]


DRAWN = {PLOT, CONFUSION}
"""Pictures, which are drawn again where they are missing: no reason to train again."""


def train(run: Run) -> None:
    """Trained weights, their history and their score on the test split."""
    facts = _facts(run)
    key = weights_key(facts, versions=run.libraries[run.options.trainer])
    kept = TrainingFolder(
        run.folder.path,
        key,
        run.progress,
        parts=_parts(run, facts),
        start=run.start.file,
        logs=run.options.tensorboard,
    )
    known, lost = run.folder.stages.get("weights"), set(run.folder.changed("weights"))
    stored = known.key if known and lost <= DRAWN and not run.options.forces("weights") else None
    kept.settle(stored)
    if stored == key:
        _renew(run, kept, lost)
        if place_of(os.environ) is not None:
            run.worker(run.options.trainer, {}).call("dismiss")
            _dismiss(run)
        return

    values: dict[str, list[float]] = {}

    def write(folder: Path) -> None:
        from netspec.data.values import trained_values

        dataset = _dataset(run)
        values.update(trained_values(dataset.train.images, run.spec.preprocess))
        weights, history = _fit(run, kept, dataset, facts["seed"])
        _store(run, folder, weights, history)
        _store_evaluation(run, folder, _evaluation(run, weights, dataset))
        # What follows is judged on the CPU, by a worker that never saw another device.
        _dismiss(run)

    # The checkpoint is all that there is of the training until the disk has the weights.
    run.stage("weights", key, write, facts=lambda: {**facts, "values": values}, durable=True)
    kept.finish()


def _facts(run: Run) -> dict[str, Any]:
    """All that the trained weights depend on, but for versions; raises BackendError for a backend that cannot train."""
    data, settings, trainer = run.spec.data, _settings(run), run.options.trainer
    assert data is not None
    if not isinstance(run.backends[trainer], Trainable):
        raise BackendError(f"the {trainer} backend cannot train\n  hint: --backend torch or --backend keras")
    with run.spec.places():
        known = fingerprint(data, run.near)
    return {
        "network": run.network.digest,
        "trained": True,
        "seed": settings.seed if run.options.seed is None else run.options.seed,
        "train": settings.model_dump(mode="json"),
        "data": data.model_dump(mode="json") | known,
        "preprocess": run.spec.preprocess.model_dump(mode="json") if run.spec.preprocess else None,
        "trainer": trainer,
        **imported_facts(run),
    }


def _settings(run: Run) -> TrainSettings:
    assert run.spec.train is not None
    return run.spec.train


def _parts(run: Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the key of the weights is made of, the network as its layers, which a digest does not tell."""
    rows = {
        node.name: {"kind": node.layer.kind, "reads": list(node.inputs), "frozen": node.frozen, **node.layer.plain()}
        for node in run.network.nodes
    }
    parts = weights_parts(facts, versions=run.libraries[run.options.trainer])
    inputs = {name: str(given) for name, given in run.network.inputs.items()}
    return {"inputs": inputs, "layers": rows} | {name: part for name, part in parts.items() if name != "network"}


def _dataset(run: Run) -> Dataset:
    """The images and labels that the spec names; raises SpecError where they are not there, or fewer than a batch."""
    from netspec.data import load as load_data
    from netspec.data.batches import check_batch_size

    data = run.spec.data
    assert data is not None
    with run.spec.places():
        dataset = load_data(data, run.network, run.near, run.spec.preprocess, run.progress)
        check_batch_size(_settings(run).batch_size, len(dataset.train))
    return dataset


def _fit(run: Run, kept: TrainingFolder, dataset: Dataset, seed: int) -> tuple[Weights, History]:
    """The trained weights and their history, by the trainer's worker, which Ctrl-C meanwhile ends with a checkpoint."""
    settings, trainer = _settings(run), run.options.trainer
    network = trained_network(run.spec, run.network)
    run.training = worker = run.worker(trainer, {})
    resumed = kept.begin()
    with kept.followed(resumed=resumed) as progress, kept.best_kept(run.network, settings.monitor):
        weights, history = worker.call(
            "train",
            progress=progress,
            network=network,
            weights=run.start.weights(seed),
            dataset=dataset,
            settings=settings,
            device=run.options.device,
            checkpoint=kept.checkpoint,
        )
    run.trained()
    if resumed:  # not all epochs were followed
        kept.log_all(lambda: history)
    return weights, history


def _store(run: Run, folder: Path, weights: Weights, history: History) -> None:
    """Weights, and the history that led to them, as a table and drawn."""
    from netspec.training.history import write_history

    save(folder / WEIGHTS, weights, run.network)
    write_history(folder / HISTORY, history)
    _draw_history(run, folder, history)


def _draw_history(run: Run, folder: Path, history: History) -> None:
    from netspec.training.plot import plot_history

    plot_history(history, folder / PLOT, _settings(run).monitor, title=run.spec.name)


def _store_evaluation(run: Run, folder: Path, found: Evaluation) -> None:
    """What the trained network makes of the images, as JSON, and which classes it confuses, drawn."""
    (folder / EVALUATION).write_text(json.dumps(found.document()) + "\n", encoding="utf-8")
    _draw_confusion(run, folder, found)


def _draw_confusion(run: Run, folder: Path, found: Evaluation) -> None:
    from netspec.report.confusion import draw_confusion

    draw_confusion(found, folder / CONFUSION, run.spec.name)


def _dismiss(run: Run) -> None:
    run.workers.pop(run.options.trainer).close()


def _evaluation(run: Run, weights: Weights, dataset: Dataset) -> Evaluation:
    """What the trained network makes of the test images, or of those to validate on where there are none."""
    from netspec.inference.evaluation import judge_outputs

    settings, worker = _settings(run), run.worker(run.options.trainer, {})
    split, part = ("validation", dataset.validation) if dataset.test is None else ("test", dataset.test)
    images = dict.fromkeys(run.network.inputs, part.images)
    found = worker.call("predict", network=trained_network(run.spec, run.network), weights=weights, inputs=images)
    [outputs] = found.values()
    names = run.network.classes or dataset.classes
    judged = judge_outputs(outputs, part.labels, run.network, settings.loss, names, data=dataset.name, split=split)
    always = (name for name in judged.metrics if name == "loss" or name.endswith("accuracy"))
    return judged.only([*always, *(name for name in settings.metrics if not name.endswith("accuracy"))])


def _renew(run: Run, kept: TrainingFolder, lost: Collection[str]) -> None:
    """These weights are there: draw the pictures that are lost of them, and leave the log that is asked for."""
    from netspec.inference.evaluation import Evaluation
    from netspec.training.history import read_history

    path = run.folder.path
    if PLOT in lost:
        _draw_history(run, path, read_history(path / HISTORY))
    kept.log_all(lambda: read_history(path / HISTORY))
    if CONFUSION in lost:
        document = json.loads((path / EVALUATION).read_text(encoding="utf-8"))
        _draw_confusion(run, path, Evaluation.of(document))
    run.progress("current", stage="weights")
