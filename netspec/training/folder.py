"""What a training keeps in the folder of its build, and what others left there: which file is for whom, and until when.

    checkpoint.safetensors    the training under way, or one that was ended; goes last, once the disk has the weights
    best-KEY.safetensors      the best epoch of the training of that key, which diverged
    tensorboard/              the log of its epochs, which is a part of them until the training has ended

None belongs to a stage. Files are replaced whole or not at all, and none goes before what takes its place is on the
disk: a process that is killed in between leaves one training or the other, and the same command goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.errors import Problem, SpecError
from netspec.progress import Progress
from netspec.storage.stages import CHECKPOINT, TENSORBOARD
from netspec.training.checkpoint import CheckpointFile
from netspec.training.history import DivergedError, Row
from netspec.training.settings import Monitor
from netspec.training.tensorboard import EpochLog
from netspec.weights import save

if TYPE_CHECKING:
    from netspec.network import Network

BEST = re.compile(r"best-[0-9a-f]{8}\.safetensors")


def best_name(key: str) -> str:
    """What the file of the best epoch of a training is called: no training overwrites that of another one, which it
    may have begun with.

    >>> best_name("0123456789abcdef")
    'best-01234567.safetensors'
    """
    return f"best-{key[:8]}.safetensors"


class TrainingFolder:
    """The files of the training of this key in the folder `path`, which begins with the file `start` if with any.

    `parts`, which are JSON, are what the key is made of. Epochs are logged where `logs` says so.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        progress: Progress,
        *,
        parts: Mapping[str, Any] | None = None,
        start: Path | None = None,
        logs: bool = False,
    ) -> None:
        self.path, self.start, self.progress, self.logs = path, start, progress, logs
        self.checkpoint = CheckpointFile(path / CHECKPOINT, key, parts)
        self.best = path / best_name(key)
        self._log = EpochLog(path / TENSORBOARD, key, progress)

    def settle(self, stored: str | None) -> None:
        """End what a process that was killed had begun to: `stored` is the key of the training whose weights the folder
        has, whole, if there are any. Its checkpoint is of no use to anybody.
        """
        if stored is None or self.checkpoint.owner() != stored:
            return
        if stored == self.checkpoint.key:
            self.finish()
        else:
            self.checkpoint.discard()

    def begin(self) -> bool:
        """Make way for this training; whether it goes on from its checkpoint, or is refused for there is another's.

        One that begins with the best epoch of another takes its place: the other's checkpoint, which is of the training
        that diverged, is discarded. Raises SpecError where it would begin with the file that its own checkpoint
        replaces.
        """
        if self._is_start(self.checkpoint.path):
            message = f"{self.start} is the checkpoint that this training would replace with its own"
            hint = "begin with a copy of it, or train in another folder with --output"
            raise SpecError([Problem(message, hint)])
        owner = self.checkpoint.owner()
        if owner is not None and self._is_start(self.path / best_name(owner)):
            self.checkpoint.discard()
            self.progress("anew", file=self.start)
        return self.checkpoint.path.exists()

    def finish(self) -> None:
        """The disk has the weights: what led to them is no longer needed, but for the file that it began with.

        The checkpoint goes last, so that there is still to be seen whose end it was.
        """
        self._sweep(None)
        self.checkpoint.discard()

    @contextmanager
    def best_kept(self, network: Network, monitor: Monitor) -> Iterator[None]:
        """A training that diverges inside leaves the weights of its best epoch, and says where, or why it cannot.

        Raises DivergedError. Those of trainings before it go once its own are on the disk.
        """
        try:
            yield
        except DivergedError as diverged:
            if not diverged.weights:
                raise
            try:
                save(self.best, diverged.weights, network, durable=True)
                self._sweep(self.best)
            except OSError as error:
                raise diverged.not_kept_at(self.best, monitor, error) from None
            raise diverged.kept_at(self.best, monitor) from None

    @contextmanager
    def followed(self, *, resumed: bool) -> Iterator[Progress]:
        """The progress of a training that goes on inside, whose epochs are logged too where that was asked for."""
        if not self.logs:
            self._log.forget()  # it tells of other weights, or of a part of the epochs
            yield self.progress
            return
        self._log.begin(goes_on=resumed)

        def progress(event: str, **values: Any) -> None:
            if event == "epoch":
                self._log.add(values)
            self.progress(event, **values)

        try:
            yield progress
            if not resumed:
                self._log.end()
        finally:
            self._log.close()

    def log_all(self, history: Callable[[], Sequence[Row]]) -> None:
        """Leave no log beside the weights that is another training's or a part of theirs: the whole one where it is
        asked for, else none.
        """
        if self._log.whole:
            return
        if self.logs:
            self._log.write(history())
        else:
            self._log.forget()

    def _is_start(self, path: Path) -> bool:
        return self.start is not None and path.resolve() == self.start.resolve()

    def _sweep(self, kept: Path | None) -> None:
        """Remove the best epochs of all trainings but the one that is kept, and the file that this one began with."""
        for path in self.path.iterdir():
            if BEST.fullmatch(path.name) and path != kept and not self._is_start(path):
                path.unlink(missing_ok=True)
