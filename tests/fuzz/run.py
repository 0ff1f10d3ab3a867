"""Many specs on many cores: each process checks one after another; of those that fail alike, one is made small."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from netspec.backend.worker import end_with_parent
from tests.fuzz.check import Case, Failure, check, write_files
from tests.fuzz.document import FILE, Document
from tests.fuzz.generate import document
from tests.fuzz.kept import INVALID
from tests.fuzz.shrink import shrink
from tests.fuzz.workers import ENVIRONMENT, Workers

SEARCH = "search"
"""The stage of failures that are not netspec's."""


@dataclass(frozen=True)
class Search:
    """What is looked for, and how long; moments are those of `time.time`, which all processes share."""

    seed: str
    backends: tuple[str, ...]
    """Nothing for the core alone."""
    save: Path
    """The folder for specs that fail."""
    shrink_s: float
    """How long one spec is made smaller."""
    end: float
    """The moment after which no other spec begins; what is under way then is made smaller for `shrink_s` at most."""

    def spec(self, number: int) -> Document:
        """The spec of a number."""
        return document(f"{self.seed}:{number}")


@dataclass(frozen=True)
class Checked:
    """One spec is through."""

    number: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class Saved:
    """The smallest spec that was found to fail in the way of another lies at `path`."""

    number: int
    failure: Failure
    path: Path
    shown: str


def run(search: Search, first: int, most: int, jobs: int) -> Iterator[Checked | Saved]:
    """Check the specs from `first` on, `jobs` at once, and save the first of those that fail in the same way.

    When a process dies, all specs that were under way count as failed, and no other begins.
    """
    context, numbers, known = multiprocessing.get_context("spawn"), iter(range(first, first + most)), set[object]()
    os.environ.update(ENVIRONMENT)  # of the processes that start from here
    pool = ProcessPoolExecutor(jobs, context, _begin, (search, jobs, context.Value("i", 0)))
    running: dict[Future[Checked | Saved], int] = {}
    try:
        while True:
            while len(running) < jobs and time.time() < search.end and (number := next(numbers, None)) is not None:
                running[pool.submit(_check, number)] = number
            if not running:
                break
            for task in wait(running, return_when=FIRST_COMPLETED).done:
                number = running.pop(task)
                found = _found(number, task)
                yield found
                for failure in found.failures if isinstance(found, Checked) else ():
                    if failure.key not in known and failure.stage != SEARCH:
                        known.add(failure.key)
                        running[pool.submit(_make_small, number, failure)] = number
    except BrokenExecutor as error:
        for lost in sorted({number, *running.values()}):
            yield Checked(lost, (Failure("crash", f"it was under way when a process died: {error}", symptom="died"),))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)  # who is interrupted does not want to wait
        raise
    pool.shutdown()


def _found(number: int, task: Future[Checked | Saved]) -> Checked | Saved:
    """What came of a spec; a fault of the search itself is one of this spec, and the others go on."""
    try:
        return task.result()
    except BrokenExecutor:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        told = "".join(traceback.format_exception(error))
        return Checked(number, (Failure(SEARCH, told, symptom=type(error).__name__),))


_search: Search
_workers: Workers | None
"""What a process of the pool looks for, and the backends that it asks."""


def _begin(search: Search, jobs: int, started: Synchronized[int]) -> None:
    global _search, _workers
    end_with_parent()
    if jobs > 1:
        _keep_to_a_share(jobs, started)
    _search, _workers = search, Workers(search.backends) if search.backends else None


def _keep_to_a_share(jobs: int, started: Synchronized[int]) -> None:
    """Stay on some of the cores, with all processes that start from here, whose frameworks would take every core."""
    with started:
        turn = started.value
        started.value += 1
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[turn % len(cores) :: jobs])


def _check(number: int) -> Checked:
    return Checked(number, tuple(check(Case.of(_search.spec(number)), _workers)))


def _make_small(number: int, failure: Failure) -> Saved:
    """Save the spec, and in its place the smallest that fails in the same way, once that is found."""
    spec, asked = _search.spec(number), _workers if failure.backend else None
    name = "-".join(word.lower().replace(" ", "-") for word in failure.key if word)[:60]
    path = _search.save / re.sub(r"[^\w.-]", "_", f"{name}-{_search.seed}-{number}")
    comment = "".join(f"# {line}\n" for line in [f"seed {_search.seed}:{number}", *str(failure).splitlines()[:3]])

    def fails(smaller: Document) -> bool:
        try:
            case = Case.of(smaller)
        except INVALID:
            return False
        return any(found.key == failure.key for found in check(case, asked, failure.backend))

    saved = save(spec, path, comment)
    small = shrink(spec, fails, seconds=min(time.time(), _search.end) + _search.shrink_s - time.time())
    if small is not spec:
        shutil.rmtree(saved) if saved.is_dir() else saved.unlink()
        saved = save(small, path, comment)
    return Saved(number, failure, saved, small.shown())


def save(spec: Document, path: Path, comment: str) -> Path:
    """Write a spec: as a file, or with the others that it is made of as a folder; returns which."""
    files = spec.files()
    files[FILE] = comment + files[FILE]
    if len(files) == 1:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f"{path.name}.yaml")
        file.write_text(files[FILE], encoding="utf-8")
        return file
    write_files(files, path)
    return path
