"""`python -m tests.fuzz --count 1000 --seed 7 --jobs 4`: random specs; what fails is made small and saved."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from math import inf
from pathlib import Path

from tests.fuzz.coverage import coverage
from tests.fuzz.generate import document
from tests.fuzz.run import Checked, Search, run

REGRESSIONS = Path(__file__).parent / "regressions"


def main() -> int:
    """Run; 1 when anything failed."""
    options = _options()
    if options.coverage:
        return _cover(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a summary is the end of everything
    begin = time.time()
    search = Search(options.seed, options.backends, options.save, options.shrink, begin + options.seconds)
    found: Counter[tuple[str, ...]] = Counter()
    done, failed, interrupted = set[int](), set[int](), False
    try:
        for each in run(search, options.first, options.count, options.jobs):
            if not isinstance(each, Checked):
                print(f"--- {each.path}\n{each.shown}---", flush=True)
                continue
            if options.show:
                print(search.spec(each.number).shown(), flush=True)
            for failure in each.failures:
                print(f"\n{options.seed}:{each.number} {failure}", flush=True)
            found.update(failure.key for failure in each.failures)
            done.add(each.number)
            failed |= {each.number} if each.failures else set()
            if sys.stderr.isatty() or len(done) % 20 == 0:
                rate = len(done) / (time.time() - begin)
                print(
                    f"{len(done)} of {options.count} specs, {len(failed)} failed, {rate:.1f}/s",
                    end="\r" if sys.stderr.isatty() else "\n",
                    file=sys.stderr,
                )
    except KeyboardInterrupt:
        interrupted = True
    where = ", ".join(map(_called, options.backends)) or "the core"
    print(f"\n{len(done)} of {options.count} specs of seed {options.seed}, on {where}: {len(failed)} failed")
    for key, times in found.most_common():
        print(f"  {times:5}  {' '.join(filter(None, key))}")
    if interrupted:
        sys.stdout.flush()
        os._exit(130)  # the interpreter would wait for the pool
    return 1 if failed else 0


def _cover(options: argparse.Namespace) -> int:
    """Say how many of the specs have each thing; 1 where none has one of them."""
    numbers = range(options.first, options.first + options.count)
    found = coverage(document(f"{options.seed}:{number}") for number in numbers)
    for thing, count in found.most_common():
        print(f"{count:6}  {thing}")
    return 0 if all(found.values()) else 1


def _called(backend: str) -> str:
    return f"keras on {os.environ.get('KERAS_BACKEND') or 'tensorflow'}" if backend == "keras" else backend


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many specs")
    parser.add_argument("--seed", default="0", help="the seed of the run; spec number n depends on it and on n alone")
    parser.add_argument("--first", type=int, default=0, help="the number of the first spec, to go on from there")
    parser.add_argument(
        "--backends", default="torch,keras,onnx", type=lambda text: tuple(name for name in text.split(",") if name),
        help="separated by commas; '' for the core alone; KERAS_BACKEND in the environment says what Keras runs on",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, help="how many specs are checked at once")
    parser.add_argument("--seconds", type=float, default=inf, help="no other spec begins after so many")
    parser.add_argument(
        "--shrink", type=float, default=120, metavar="SECONDS", help="how long each that fails is made smaller"
    )
    parser.add_argument("--save", type=Path, default=REGRESSIONS, metavar="DIR", help="where specs that fail are saved")
    parser.add_argument("--coverage", action="store_true", help="only say how many of the specs have what")
    parser.add_argument("--show", action="store_true", help="print every spec")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
