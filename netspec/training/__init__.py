"""What training means: settings, the learning rate of every step, what the loss reads, which epoch is best."""

from netspec.training.evaluation import evaluate
from netspec.training.history import COLUMNS, DivergedError, best_epoch, is_better, read_history, write_history
from netspec.training.loss import decayed_weights, loss_input, loss_targets
from netspec.training.schedule import learning_rate
from netspec.training.settings import Optimizer, Schedule, TrainSettings

__all__ = [
    "COLUMNS",
    "DivergedError",
    "Optimizer",
    "Schedule",
    "TrainSettings",
    "best_epoch",
    "decayed_weights",
    "evaluate",
    "is_better",
    "learning_rate",
    "loss_input",
    "loss_targets",
    "read_history",
    "write_history",
]
