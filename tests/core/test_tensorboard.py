"""Event files for TensorBoard: read back by TensorFlow's own reader and message, and bit by bit."""

from __future__ import annotations

import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from netspec.training.record import unheard
from netspec.training.tensorboard import EpochLog, _checksum

HISTORY = [
    {"epoch": 1, "learning_rate": 1e-3, "loss": 2.25, "accuracy": 0.25, "val_loss": 2.0, "val_accuracy": 0.5},
    {"epoch": 2, "learning_rate": 5e-4, "loss": 1.5, "accuracy": 0.5, "val_loss": float("nan"), "val_accuracy": 0.75},
    {"epoch": 300, "learning_rate": 1e-5, "loss": 0.5, "accuracy": 0.75, "val_loss": 0.25, "val_accuracy": 0.875},
]
READ = """
import sys
from tensorflow.core.util.event_pb2 import Event
import tensorflow as tf
for part in ("train", "validation"):
    [path] = tf.io.gfile.glob(f"{sys.argv[1]}/{part}/events.out.tfevents.*")
    for record in tf.data.TFRecordDataset(path):  # which holds every record against its checksums
        event = Event.FromString(record.numpy())
        if event.file_version:
            print(part, event.file_version, event.wall_time > 1.7e9)
        for value in event.summary.value:
            print(part, event.step, value.tag, value.simple_value)
"""


def test_the_checksum_is_the_one_that_is_published():
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 0x8A9136AA.
    crc = 0x8A9136AA
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert _checksum(bytes(32)) == struct.pack("<I", masked)


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow reads the files; pip install 'netspec[keras]'")
def test_tensorflow_reads_what_was_written(tmp_path):
    EpochLog(tmp_path, "key", unheard).write(HISTORY)
    command = [sys.executable, "-c", READ, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines.count(["train", "brain.Event:2", "True"]) == 1
    assert lines.count(["validation", "brain.Event:2", "True"]) == 1
    scalars = (line for line in lines if len(line) == 4)
    found = {(part, int(step), tag): float(value) for part, step, tag, value in scalars}
    wanted = {
        ("validation" if name.startswith("val_") else "train", row["epoch"], name.removeprefix("val_")): value
        for row in HISTORY
        for name, value in row.items()
        if name != "epoch"
    }
    assert found == pytest.approx(wanted, rel=1e-6, nan_ok=True)


def test_a_training_that_begins_takes_the_place_of_another(tmp_path):
    for _ in range(2):
        log = EpochLog(tmp_path / "logs", "key", unheard)
        log.begin()
        log.add(HISTORY[0])
        log.close()
    assert len(list((tmp_path / "logs").rglob("events.*"))) == 2  # one of each part


def test_every_epoch_is_on_the_disk_at_once(tmp_path):
    log = EpochLog(tmp_path, "key", unheard)
    log.add(HISTORY[0])
    [file] = (tmp_path / "train").iterdir()
    before = file.stat().st_size
    log.add(HISTORY[1])
    assert file.stat().st_size > before
    log.close()


def test_a_log_is_whole_when_its_training_has_ended(tmp_path):
    log = EpochLog(tmp_path / "logs", "key", unheard)
    assert not log.whole
    log.begin()
    log.add(HISTORY[0])
    log.close()
    assert not log.whole
    log.begin(goes_on=True)
    assert list((tmp_path / "logs" / "train").iterdir())
    log.write(HISTORY)
    assert EpochLog(tmp_path / "logs", "key", unheard).whole
    other = EpochLog(tmp_path / "logs", "other", unheard)
    assert not other.whole
    other.begin(goes_on=True)
    assert not (tmp_path / "logs" / "train").exists()


def test_a_full_disk_is_warned_of_once(tmp_path):
    heard = []
    log = EpochLog(tmp_path, "key", lambda event, **values: heard.append((event, values["text"])))
    log.begin()
    log.add(HISTORY[0])
    for file in log._files.values():
        file._file.close()
        file._file = Path("/dev/full").open("ab")  # noqa: SIM115 - the log closes it
    log.add(HISTORY[1])
    log.add(HISTORY[2])
    log.end()
    text = f"{tmp_path} cannot be written: No space left on device; TensorBoard's log ends here"
    assert heard == [("warning", text)]
    assert not log.whole
