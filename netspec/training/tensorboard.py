"""Logs of a training for TensorBoard: the metrics of every epoch as an event file, which netspec writes by itself.

A file is a row of records, each a protocol buffer of the message Event (tensorflow/core/util/event.proto) in the frame
of TFRecord files: its length, a checksum of that, the bytes, a checksum of these.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from shutil import rmtree

from netspec.progress import Progress
from netspec.storage.atomic import replacing
from netspec.training.history import Row

VALIDATION = "val_"
NOTE = "training.json"
ALONE = ("epoch", "epochs")
"""What of a history's row is no value over the epochs."""


class EventFile:
    """An event file in a folder of its own, open for writing; each record is on its way to the disk at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard knows the files by this name, and reads those of a folder in the order of their times.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / name).open("ab")
        self._write(_text(3, "brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """The values of a step, by their names."""
        summaries = (
            _bytes(1, _text(1, name) + _key(2, 5) + struct.pack("<f", value)) for name, value in values.items()
        )
        self._write(_key(2, 0) + _varint(step) + _bytes(5, b"".join(summaries)))

    def close(self) -> None:
        """There is no more to come."""
        self._file.close()

    def _write(self, message: bytes) -> None:
        event = _key(1, 1) + struct.pack("<d", time.time()) + message
        length = struct.pack("<Q", len(event))
        self._file.write(length + _checksum(length) + event + _checksum(event))
        self._file.flush()


class EpochLog:
    """The epochs of one training, in the folders `train` and `validation`, which TensorBoard draws over each other.

    A file beside them says by its key which training that is, and whether they are all. No log is worth a training:
    where a file cannot be written, `progress` hears of it once, as a `warning`, and nothing more is logged.
    """

    def __init__(self, folder: Path, key: str, progress: Progress) -> None:
        self.folder, self.key, self.progress = folder, key, progress
        self._files: dict[str, EventFile] = {}
        self._lost = False

    @property
    def whole(self) -> bool:
        """Whether all epochs of this training are there, and of no other one."""
        return self._note() == {"key": self.key, "whole": True}

    def begin(self, *, goes_on: bool = False) -> None:
        """Forget what another training left; of this one, which may go on, what is there stays."""
        note = self._note()
        if not (goes_on and isinstance(note, dict) and note.get("key") == self.key):
            self.forget()
        self._try(lambda: self._say(whole=False))

    def forget(self) -> None:
        """Remove what is there."""
        self.close()
        rmtree(self.folder, ignore_errors=True)

    def add(self, row: Row) -> None:
        """One row of a history: `loss`, `accuracy`, `learning_rate` and so on, those of the validation apart."""
        self._try(lambda: self._add(row))

    def end(self) -> None:
        """The training has ended, and all of its epochs were added."""
        self.close()
        self._try(lambda: self._say(whole=True))

    def write(self, history: Iterable[Row]) -> None:
        """All epochs of a training that has ended, in the place of what is there."""
        self.begin()
        for row in history:
            self.add(row)
        self.end()

    def close(self) -> None:
        """There is no more to come."""
        for file in self._files.values():
            with suppress(OSError):  # of what could not be written, which was said
                file.close()
        self._files = {}

    def _add(self, row: Row) -> None:
        parts: dict[str, dict[str, float]] = {"train": {}, "validation": {}}
        for name, value in row.items():
            if name not in ALONE:
                part = "validation" if name.startswith(VALIDATION) else "train"
                parts[part][name.removeprefix(VALIDATION)] = float(value)
        for part, values in parts.items():
            if values:
                if part not in self._files:
                    self._files[part] = EventFile(self.folder / part)
                self._files[part].scalars(int(row["epoch"]), values)

    def _try(self, work: Callable[[], None]) -> None:
        if self._lost:
            return
        try:
            work()
        except OSError as error:
            self._lost = True
            self.close()
            text = f"{self.folder} cannot be written: {error.strerror or error}; TensorBoard's log ends here"
            hint = "once the training has ended, the same command makes the log of its history"
            self.progress("warning", text=text, hint=hint)

    def _say(self, *, whole: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / NOTE) as partial:
            partial.write_text(json.dumps({"key": self.key, "whole": whole}) + "\n", encoding="utf-8")

    def _note(self) -> object:
        try:
            return json.loads((self.folder / NOTE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def _varint(number: int) -> bytes:
    """A number in groups of seven bits, the lowest first, each but the last with its upper bit set."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))


def _key(field: int, kind: int) -> bytes:
    """What stands before a field's value: 0 a varint, 1 eight bytes, 2 a length and so many bytes, 5 four bytes."""
    return _varint(field << 3 | kind)


def _bytes(field: int, content: bytes) -> bytes:
    return _key(field, 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


@cache
def _table() -> tuple[int, ...]:
    """CRC-32C (Castagnoli) of every byte, with the polynomial 0x82F63B78, its bits reversed."""
    found = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)


def _checksum(content: bytes) -> bytes:
    """The masked CRC-32C of TFRecord files: turned right by 15 bits, and a number added."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<I", masked)
