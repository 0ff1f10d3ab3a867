"""What every trainer does beside its steps: the schedule, reports, the history, which epoch is the best so far."""

from __future__ import annotations

from time import monotonic

from netspec.backend import Progress, piece_size
from netspec.errors import BackendError
from netspec.layers import BatchNorm
from netspec.network import Network
from netspec.training.history import DivergedError, is_better
from netspec.training.schedule import learning_rate
from netspec.training.settings import TrainSettings

REPORT_EVERY_S = 0.1
"""The shortest time between two reports of a step."""
EVALUATION_BATCH = 1024
"""The most validation images that go through the network at once."""


class Record:
    """A training as it goes; `steps` are those of one epoch. Epochs count from 1, steps of an epoch from 0."""

    def __init__(self, settings: TrainSettings, steps: int, progress: Progress) -> None:
        self.settings, self.steps, self.progress = settings, steps, progress
        self.history: list[dict[str, float]] = []
        self.epoch, self.rate = 0, 0.0
        self._began = self._reported = monotonic()
        self._best: float | None = None

    def begin(self) -> int:
        """Begin the next epoch; its number."""
        self.epoch, self._began = self.epoch + 1, monotonic()
        return self.epoch

    def rate_of(self, step: int) -> float:
        """The learning rate of a step of this epoch."""
        self.rate = learning_rate(
            self.settings, (self.epoch - 1) * self.steps + step, self.settings.epochs * self.steps
        )
        return self.rate

    def due(self) -> bool:
        """Whether the last report is long enough ago for another."""
        return monotonic() - self._reported >= REPORT_EVERY_S

    def report(self, step: int) -> None:
        """Report that a step is done."""
        self._reported = monotonic()
        epochs, done = self.settings.epochs, (self.epoch - 1) * self.steps + step + 1
        self.progress("step", epoch=self.epoch, epochs=epochs, step=done, total=epochs * self.steps)

    def end(self, *, loss: float, accuracy: float, val_loss: float, val_accuracy: float) -> bool:
        """Report the epoch and keep its row; whether it is the best so far."""
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
        if not is_better(self.settings.monitor, value, self._best):
            return False
        self._best = value
        return True

    def diverged(self, step: int) -> DivergedError:
        """What to raise when the loss of a step is not finite."""
        return DivergedError(
            f"the loss was not finite at step {step + 1} of {self.steps} in epoch {self.epoch} "
            f"(learning rate {self.rate:g})\n  hint: a smaller learning_rate, or inputs scaled to about 1"
        )


def evaluation_batch(network: Network) -> int:
    """How many validation images go through the network at once: fewer where its values are large."""
    return min(EVALUATION_BATCH, piece_size(network))


def check_batches(network: Network, settings: TrainSettings, count: int) -> None:
    """Refuse batches of one where a BatchNorm would see one value a channel; `count` are the training images.

    Raises BackendError.
    """
    if settings.batch_size > 1 and count > 1:
        return
    for node in network.nodes:
        flat = node.input_type.size == node.input_type.channels
        if isinstance(node.layer, BatchNorm) and flat and not node.frozen:
            raise BackendError(
                f"row {node.row!r}: BatchNorm of {node.input_type} cannot train on batches of one image, "
                "whose variance is not defined\n  hint: a batch_size of at least 2"
            )
