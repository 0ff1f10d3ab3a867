"""Workers: answers, events and errors come back; a worker that dies is told from one that fails."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from netspec.backend import doctor, find_backend
from netspec.backend.worker import Worker, WorkerDied, WorkerFailed
from netspec.errors import BackendError, Problem, SpecError
from netspec.interrupt import SIGNALS, STOP
from netspec.training.history import StoppedError


class Example:
    """A backend-like object that the worker process imports from here."""

    def add(self, a: int, b: int) -> int:
        print("frameworks print what they like")
        return a + b

    def count(self, to: int, progress: Any) -> int:
        for number in range(to):
            progress("counted", number=number)
        return to

    def refuse(self) -> None:
        raise SpecError([Problem("no", "yes", "a.b")])

    def fail(self) -> None:
        raise ZeroDivisionError("a bug")

    def exit(self, status: int) -> None:
        print("last words", file=sys.stderr, flush=True)
        os._exit(status)

    def die(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def wished(self) -> int | None:
        return STOP.by if STOP.is_set() else None

    def stop(self) -> None:
        raise StoppedError("stopped after epoch 3", signal.SIGTERM)

    def sleep(self) -> None:
        time.sleep(600)


example = Example()


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker("tests.core.test_worker:example") as started:
        yield started


def test_who_ends_the_doctor_does_not_wait_for_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Worker] = []

    class Slow(Worker):
        def __init__(self, _: str) -> None:
            super().__init__("tests.core.test_worker:example")
            begun.append(self)

        def call(self, *_: Any, **__: Any) -> Any:
            if self is begun[-1]:  # once: a second one may come in the middle of what the first one undoes
                ident = threading.main_thread().ident
                assert ident is not None
                signal.pthread_kill(ident, signal.SIGINT)
            return super().call("sleep")

    monkeypatch.setattr(doctor, "installed_backends", lambda: ("one", "other"))
    monkeypatch.setattr(doctor, "find_backend", lambda _: find_backend("onnx"))
    monkeypatch.setattr(doctor, "Worker", Slow)
    # Where the tests run in the background of a shell, Python takes no notice of this signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            doctor.examine()
    finally:
        signal.signal(signal.SIGINT, before)
    assert [worker._process.poll() is not None for worker in begun] == [True, True]


@pytest.mark.parametrize("sent", SIGNALS)
def test_a_signal_to_a_worker_that_has_just_begun_is_a_wish(sent: signal.Signals) -> None:
    with Worker("tests.core.test_worker:example") as worker:
        worker.interrupt(sent)  # long before it listens
        assert worker.call("wished") == sent


def test_what_stopped_a_training_is_known_in_the_other_process(worker: Worker) -> None:
    with pytest.raises(StoppedError, match=r"^stopped after epoch 3$") as caught:
        worker.call("stop")
    assert (caught.value.by, caught.value.exit_code) == (signal.SIGTERM, 143)


def test_an_answer_comes_back_whatever_is_printed(worker: Worker) -> None:
    assert worker.call("add", a=1, b=2) == 3
    assert worker.call("add", a="x", b="y") == "xy"


def test_events_reach_the_caller_in_order(worker: Worker) -> None:
    seen: list[int] = []
    assert worker.call("count", to=3, progress=lambda _event, number: seen.append(number)) == 3
    assert seen == [0, 1, 2]


def test_netspec_errors_come_back_whole(worker: Worker) -> None:
    with pytest.raises(SpecError) as caught:
        worker.call("refuse")
    assert caught.value.problems == (Problem("no", "yes", "a.b"),)


def test_other_errors_are_failures_with_their_traceback_and_the_worker_lives_on(worker: Worker) -> None:
    with pytest.raises(WorkerFailed, match="failed in fail: ZeroDivisionError: a bug") as caught:
        worker.call("fail")
    assert "Traceback" in caught.value.details
    assert worker.call("add", a=1, b=1) == 2


def test_a_worker_that_ends_is_reported_with_its_last_words(worker: Worker) -> None:
    with pytest.raises(WorkerDied, match=r"ended with status 7.*last said:\s+last words"):
        worker.call("exit", status=7)


def test_a_killed_worker_is_reported_with_its_signal(worker: Worker) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match=r"SIGKILL.*memory"):
        worker.call("sleep")
    with pytest.raises(WorkerDied):
        worker.call("add", a=1, b=1)


@pytest.mark.parametrize(("said", "meant"), [("tensorflow", "keras"), ("PyTorch", "torch"), ("onnxruntime", "onnx")])
def test_a_library_names_the_backend_that_computes_with_it(said: str, meant: str) -> None:
    with pytest.raises(BackendError, match=f"there is no backend '{said}'; .* is '{meant}'"):
        find_backend(said)


def test_an_unknown_backend_is_reported_at_the_first_call() -> None:
    with (
        Worker("tosch") as started,
        pytest.raises(Exception, match="there is no backend 'tosch'; did you mean 'torch'"),
    ):
        started.call("versions")


@pytest.mark.parametrize(("number", "said"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGRTMIN + 5, "signal 39")])
def test_a_signal_that_kills_is_named_where_it_has_a_name(worker: Worker, number: int, said: str) -> None:
    with pytest.raises(WorkerDied, match=f"was killed by {said}"):
        worker.call("die", number=int(number))
