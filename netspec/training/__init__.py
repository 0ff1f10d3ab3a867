"""What training means: settings, the learning rate of every step, what the loss reads, which epoch is best."""

from netspec.training.history import COLUMNS, DivergedError, best_epoch, is_better, read_history, write_history
from netspec.training.loss import Loss, loss_input, loss_targets
from netspec.training.optimizer import Optimizer
from netspec.training.roles import decayed_weights
from netspec.training.schedule import Schedule, learning_rate
from netspec.training.settings import TrainSettings

__all__ = [
    "COLUMNS",
    "DivergedError",
    "Loss",
    "Optimizer",
    "Schedule",
    "TrainSettings",
    "best_epoch",
    "decayed_weights",
    "is_better",
    "learning_rate",
    "loss_input",
    "loss_targets",
    "read_history",
    "write_history",
]
