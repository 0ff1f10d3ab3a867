"""What every trainer does beside its steps: the schedule, reports, the history, the best epoch, when to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from signal import SIGINT
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from netspec.errors import BackendError
from netspec.interrupt import STOP
from netspec.layers import BatchNorm
from netspec.memory import piece_size
from netspec.network import Network
from netspec.progress import Progress
from netspec.training.checkpoint import BEST, Checkpoint, CheckpointFile, under
from netspec.training.culprit import Culprit
from netspec.training.history import DivergedError, StoppedError, best_epoch, is_better
from netspec.training.schedule import Plateau, learning_rate
from netspec.training.settings import Phase, TrainSettings

if TYPE_CHECKING:
    from netspec.tensors import Array, Weights

REPORT_EVERY_S = 0.1
"""The shortest time between two reports of a step."""
EVALUATION_BATCH = 1024
"""The most validation images that go through the network at once."""


class Diverged(Exception):
    """The loss of a step of the epoch under way was not finite, or the weights after it were not.

    It may have been any of the last `among` steps. Trainers catch it, and raise what `Record.diverged` makes of it.
    """

    def __init__(self, step: int, what: Literal["loss", "weights"] = "loss", among: int = 1) -> None:
        super().__init__(step, what, among)
        self.step, self.what, self.among = step, what, among


class Record:
    """A training as it goes; `steps` are those of one epoch. Epochs count from 1, steps of an epoch from 0."""

    def __init__(
        self, settings: TrainSettings, steps: int, progress: Progress, file: CheckpointFile | None = None
    ) -> None:
        self.settings, self.steps, self.progress, self.file = settings, steps, progress, file
        self.history: list[dict[str, float]] = []
        self.best: Weights = {}
        """The weights of the best epoch so far."""
        self.epoch, self.rate = 0, 0.0
        self.updates = True
        """Whether the step whose rate was asked for last completes an update."""
        self._began = self._reported = monotonic()
        self._best: float | None = None
        self._best_epoch = 0
        self.begin_phase(settings.spans[0])

    def begin_phase(self, phase: Phase, number: int = 0) -> None:
        """The schedule, and the count of epochs that were no better, begin again; phases are numbered from 0."""
        self.phase, self.phase_number, self.phase_epoch = phase, number, 0
        self.base = phase.learning_rate or self.settings.optimizer.learning_rate
        self._plateau = Plateau(self.settings.schedule, larger=self.settings.larger_is_better)
        self._patience = Patience(self.settings)

    @property
    def goes_on(self) -> bool:
        """Whether the phase has another epoch."""
        return self.phase_epoch < self.phase.epochs and not self._patience.over

    @property
    def ended(self) -> bool:
        """Whether the last epoch of the phase has ended, early or not."""
        return bool(self.epoch) and len(self.history) == self.epoch and not self.goes_on

    def begin(self) -> int:
        """Begin the next epoch; its number."""
        self.epoch, self.phase_epoch, self._began = self.epoch + 1, self.phase_epoch + 1, monotonic()
        return self.epoch

    def _batch(self, step: int) -> int:
        """How many batches of the phase came before a step of this epoch."""
        return (self.phase_epoch - 1) * self.steps + step

    def rate_of(self, step: int) -> float:
        """The learning rate of the update that a step of this epoch belongs to."""
        settings, epochs = self.settings, self.phase.epochs
        # Batches that are left over at the end of a phase complete none.
        self.updates = (self._batch(step) + 1) % settings.accumulate == 0
        update, total = self._batch(step) // settings.accumulate, max(epochs * self.steps // settings.accumulate, 1)
        self.rate = learning_rate(self.base, settings.schedule, update, total, epochs, self._plateau.factor)
        return self.rate

    def announce(self, images: int, where: str) -> None:
        """Report that the training begins on so many images; `where` is what computes: `torch on cpu`."""
        self.progress("training", images=images, steps=self.steps, where=where)

    def due(self) -> bool:
        """Whether the last report is long enough ago for another."""
        return monotonic() - self._reported >= REPORT_EVERY_S

    def report(self, step: int) -> None:
        """Report that a step is done."""
        self._reported = monotonic()
        epochs, done = self.settings.epochs, (self.epoch - 1) * self.steps + step + 1
        self.progress("step", epoch=self.epoch, epochs=epochs, step=done, total=epochs * self.steps)

    def end(
        self, weights: Callable[[], Weights], *, loss: float, accuracy: float, val_loss: float, val_accuracy: float
    ) -> None:
        """Report the epoch and keep its row, and its weights where it is the best so far.

        Raises Diverged where those are not finite: then the best one is what it was.
        """
        row = {
            "epoch": self.epoch,
            "learning_rate": self.rate,
            "loss": loss,
            "accuracy": accuracy,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "seconds": monotonic() - self._began,
        }
        self.history.append(row)
        self.progress("epoch", epochs=self.settings.epochs, **row)
        value = row[self.settings.monitor]
        self._plateau.see(value)
        self._patience.see(value)
        if is_better(self.settings.monitor, value, self._best):
            found = weights()
            self.refuse(found)
            self.best, self._best, self._best_epoch = found, value, self.epoch

    def pauses(self) -> bool:
        """Whether the training should be looked at and written down after this step: it ends here, it was long ago, or
        no epoch is left of the phase, and what follows must not cost it.
        """
        return STOP.is_set() or (self.file is not None and self.file.due()) or self.ended

    def pause(self, step: int, arrays: Callable[[], Mapping[str, Array]]) -> None:
        """Write down the training after `step` steps of this epoch; `arrays` are what the backend needs to go on.

        With 0 steps, after this epoch, which stands in the history, and before the next one.
        Raises StoppedError where it should end here, FolderError where the checkpoint cannot be written.
        """
        if self.file is not None:
            self.file.save(Checkpoint(self.epoch, step, arrays(), self._facts()))
        if STOP.is_set():
            kept = "; the same command goes on from there" if self.file else ", and nothing was kept of it"
            where = f"in epoch {self.epoch}, at step {step} of {self.steps}" if step else f"after epoch {self.epoch}"
            why = "" if STOP.by == SIGINT else f"by {STOP.by.name} "
            raise StoppedError(f"stopped {why}{where}{kept}", STOP.by)

    def _facts(self) -> dict[str, Any]:
        plateau, patience = self._plateau, self._patience
        return {
            "phase": self.phase_number,
            "phase_epoch": self.phase_epoch,
            "history": self.history,
            "best": self._best,
            "plateau": [plateau.factor, plateau.best, plateau.waited],
            "patience": [patience.best, patience.waited],
            "seconds": monotonic() - self._began,
        }

    def resume(self, checkpoint: Checkpoint) -> None:
        """Be where this checkpoint was written; its phase has begun already."""
        facts = checkpoint.facts
        self.epoch, self.phase_epoch = checkpoint.epoch, facts["phase_epoch"]
        self.history, self._best = [dict(row) for row in facts["history"]], facts["best"]
        self.best = under(BEST, checkpoint.arrays)
        self._best_epoch = best_epoch(self.history, self.settings.monitor) if self.best else 0
        self._plateau.factor, self._plateau.best, self._plateau.waited = facts["plateau"]
        self._patience.best, self._patience.waited = facts["patience"]
        self._began = monotonic() - facts["seconds"]
        self.progress("resumed", epoch=checkpoint.epoch, step=checkpoint.step)

    def nearest(self, found: Checkpoint | None) -> Checkpoint | None:
        """The last checkpoint of the phase under way: the one on disk, or `found`, which it began with."""
        last = (self.file.load() if self.file else None) or found
        return last if last and last.facts["phase"] == self.phase_number else None

    def again(self) -> Record:
        """The phase under way from its beginning, without a word and without a file."""
        record = Record(self.settings, self.steps, unheard)
        record.begin_phase(self.phase, self.phase_number)
        record.epoch = self.epoch - self.phase_epoch
        return record

    def end_as(self, other: Record) -> None:
        """End an epoch that another record has in its history."""
        row = other.history[self.epoch - 1]
        self.end(dict, **{name: row[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")})

    def refuse(self, weights: Weights, step: int = 0) -> None:
        """Raise Diverged where the weights after so many steps of the epoch, or with 0 after all, are not finite.

        They are worth no checkpoint and are not the best: a rectifier may hide from the loss that they are not numbers.
        """
        import numpy as np

        if not all(np.isfinite(array).all() for array in weights.values()):
            raise Diverged((step or self.steps) - 1, "weights")

    def diverged(self, found: Diverged, find: Callable[[], Culprit | None]) -> DivergedError:
        """What to raise, with what was the first not to be finite, where `find` tells, and what is kept."""
        culprit = unless_it_fails(find)
        first, hint = "", "a smaller learning_rate, or inputs scaled to about 1"
        if culprit is not None:
            epoch, step = divmod(culprit.step, self.steps)
            earlier = (epoch + 1, step) != (self.epoch, found.step)
            first = f": in step {step + 1} of epoch {epoch + 1} already, {culprit}" if earlier else f": {culprit}"
            if culprit.what == "images":
                hint = "look for what is not a number in the data"
        kept = ""
        if self.file is not None and self.file.path.exists():
            kept = f"\n  the last checkpoint before it is kept: {self.file.path}"
        what, when = ("the loss was", "at") if found.what == "loss" else ("the weights were", "after")
        message = (
            f"{what} not finite {when} step {found.step + 1} of {self.steps} in epoch {self.epoch} "
            f"(learning rate {self.rate:g}){first}{kept}"
        )
        return DivergedError(message, hint, self.best, self.history[self._best_epoch - 1] if self.best else None)


def unless_it_fails(find: Callable[[], Culprit | None]) -> Culprit | None:
    """What is found, or None: that a training diverged is to be said even where looking for the reason fails, which
    takes memory for a second model and a checkpoint that is whole.
    """
    try:
        return find()
    except Exception:  # noqa: BLE001 - every framework has errors of its own for memory
        return None


def unheard(event: str, **values: Any) -> None:
    """Nobody listens."""


class Patience:
    """How many epochs in a row were no better, for early stopping; without it there is no end to it."""

    def __init__(self, settings: TrainSettings) -> None:
        self.stopping, self.larger = settings.early_stopping, settings.larger_is_better
        self.best, self.waited = float("inf"), 0

    def see(self, value: float) -> None:
        """Take in the monitored value of an epoch; one that is not a number is no better."""
        value = -value if self.larger else value
        if value < self.best - (self.stopping.min_delta if self.stopping else 0.0):
            self.best, self.waited = value, 0
        else:
            self.waited += 1

    @property
    def over(self) -> bool:
        """Whether the training should end."""
        return self.stopping is not None and self.waited >= self.stopping.patience


def evaluation_batch(network: Network) -> int:
    """How many validation images go through the network at once: fewer where its values are large."""
    return min(EVALUATION_BATCH, piece_size(network))


def check_batches(network: Network, settings: TrainSettings, count: int, ranks: int = 1) -> None:
    """Refuse batches that nothing can be learnt from; `count` are the training images, of which `ranks` take parts.

    Those are parts of one image where a BatchNorm would see one value a channel, and so few batches that no update
    comes about. Raises BackendError.
    """
    from netspec.data.batches import batch_slices

    places = batch_slices(count, settings.batch_size)
    steps, least = len(places), min((place.stop - place.start for place in places), default=0)
    shortest = min(phase.epochs for phase in settings.spans)
    if shortest * steps < settings.accumulate:
        raise BackendError(
            f"accumulate is {settings.accumulate}, but {shortest} epochs have {shortest * steps} batches, so no update "
            "would come about\n  hint: a smaller accumulate, or smaller batches"
        )
    if least // ranks > 1:
        return
    for node in network.nodes:
        flat = node.input_type.size == node.input_type.channels
        if isinstance(node.layer, BatchNorm) and flat and not node.frozen:
            shared = "" if ranks == 1 else f", and {ranks} ranks share batches, of which the smallest has {least}"
            raise BackendError(
                f"row {node.row!r}: BatchNorm of {node.input_type} cannot train on batches of one image, "
                f"whose variance is not defined{shared}\n  hint: a batch_size of at least {2 * ranks}"
            )
