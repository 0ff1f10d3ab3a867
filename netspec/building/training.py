"""The stage of trained weights: their history, its plot, and their score on the test split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.backend import Trainable
from netspec.building.options import CHECKPOINT, HISTORY, PLOT, TEST, WEIGHTS
from netspec.building.run import Run
from netspec.building.weights import imported_facts, weights_key
from netspec.compile.pixels import trained_network
from netspec.data.source import fingerprint
from netspec.errors import BackendError
from netspec.layers import Activation
from netspec.training.checkpoint import CheckpointFile
from netspec.weights import save

if TYPE_CHECKING:
    from netspec.backend import Array
    from netspec.training.settings import TrainSettings


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

    if _trained_already(run, key, settings):
        return
    checkpoint = CheckpointFile(run.folder.path / CHECKPOINT, key)

    def write(folder: Path) -> None:
        from netspec.data import load as load_data
        from netspec.data.batches import check_batch_size
        from netspec.training.history import write_history
        from netspec.training.plot import plot_history

        with run.spec.places():
            dataset = load_data(data, run.network, run.near, run.spec.preprocess, run.progress)
            check_batch_size(settings.batch_size, len(dataset.train))
        network = trained_network(run.spec, run.network)
        run.training = worker = run.worker(trainer, {})
        weights, history = worker.call(
            "train",
            progress=run.progress,
            network=network,
            weights=run.start.weights(seed),
            dataset=dataset,
            settings=settings,
            device=run.options.device,
            checkpoint=checkpoint,
        )
        run.training = None
        save(folder / WEIGHTS, weights, run.network)
        write_history(folder / HISTORY, history)
        plot_history(history, folder / PLOT, settings.monitor, title=run.spec.name)
        if dataset.test is not None:
            images = dict.fromkeys(run.network.inputs, dataset.test.images)
            outputs = worker.call("predict", network=network, weights=weights, inputs=images)
            score = _score(run, next(iter(outputs.values())), dataset.test.labels)
            (folder / TEST).write_text(json.dumps(score, indent=2) + "\n", encoding="utf-8")
        # What follows is judged on the CPU, by a worker that never saw another device.
        worker.close()
        del run.workers[trainer]

    run.stage("weights", key, write, facts=facts)
    checkpoint.discard()


def _trained_already(run: Run, key: str, settings: TrainSettings) -> bool:
    """Whether these weights are there; a plot that is not is drawn again, which is no reason to train again."""
    known = run.folder.stages.get("weights")
    lost = run.folder.changed("weights")
    if known is None or known.key != key or not set(lost) <= {PLOT}:
        return False
    if lost:
        from netspec.training.history import read_history
        from netspec.training.plot import plot_history

        history = read_history(run.folder.path / HISTORY)
        plot_history(history, run.folder.path / PLOT, settings.monitor, title=run.spec.name)
    run.progress("current", stage="weights")
    return True


def _score(run: Run, outputs: Array, labels: Array) -> dict[str, float]:
    from netspec.training.evaluation import evaluate

    last = run.network.nodes[-1].layer
    probable = isinstance(last, Activation) and last.function in ("sigmoid", "softmax")
    assert run.spec.train is not None
    return evaluate(outputs, labels, threshold=0.5 if probable else 0.0, chosen=run.spec.train.metrics)
