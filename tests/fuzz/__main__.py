"""`python -m tests.fuzz --count 1000 --seed 7`: random specs; what fails is made small and saved."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.check import Case, Failure, Workers, check
from tests.fuzz.document import FILE, Document
from tests.fuzz.generate import INVALID, document
from tests.fuzz.shrink import shrink

REGRESSIONS = Path(__file__).parent / "regressions"


def main() -> int:
    """Run; 1 when anything failed."""
    options = _options()
    workers = Workers(options.backends) if options.backends else None
    found: Counter[tuple[str, str, str, str]] = Counter()
    begin, done = time.monotonic(), 0
    try:
        for index in range(options.first, options.first + options.count):
            spec = document(f"{options.seed}:{index}")
            if options.show:
                print(spec.shown())
            for failure in check(Case.of(spec), workers):
                found[failure.key] += 1
                print(f"\n{options.seed}:{index} {failure}", flush=True)
                if found[failure.key] == 1 and not options.no_shrink:
                    _save(spec, failure, workers, f"{options.seed}:{index}", options.save)
            done += 1
            if sys.stderr.isatty() or done % 20 == 0:
                rate = done / (time.monotonic() - begin)
                end = "\r" if sys.stderr.isatty() else "\n"
                print(
                    f"{done} of {options.count} specs, {sum(found.values())} failures, {rate:.1f}/s",
                    end=end,
                    file=sys.stderr,
                )
    except KeyboardInterrupt:
        pass
    finally:
        if workers:
            workers.close()
    where = ", ".join(options.backends) or "the core"
    print(f"\n{done} specs of seed {options.seed} on {where}: {sum(found.values())} failures")
    for key, count in found.most_common():
        print(f"  {count:5}  {' '.join(filter(None, key))}")
    return 1 if found else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="how many specs")
    parser.add_argument("--seed", default="0", help="the seed of the run; spec number n depends on it and on n alone")
    parser.add_argument("--first", type=int, default=0, help="the number of the first spec, to go on from there")
    parser.add_argument(
        "--backends", default="torch,keras,onnx", type=lambda text: [name for name in text.split(",") if name],
        help="separated by commas; '' for the core alone",
    )  # fmt: skip
    parser.add_argument("--no-shrink", action="store_true", help="only report what fails")
    parser.add_argument("--save", type=Path, default=REGRESSIONS, help="where small specs that fail are written")
    parser.add_argument("--show", action="store_true", help="print every spec")
    return parser.parse_args()


def _save(spec: Document, failure: Failure, workers: Workers | None, seed: str, folder: Path) -> None:
    """Write the smallest spec that fails in this way, with what it was made of."""

    asked = workers if failure.backend else None

    def fails(smaller: Document) -> bool:
        try:
            case = Case.of(smaller)
        except INVALID:
            return False
        return any(found.key == failure.key for found in check(case, asked, failure.backend))

    small = shrink(spec, fails)
    words = "-".join(part.lower().replace(" ", "-") for part in failure.key if part)
    files = small.files()
    comment = "".join(f"# {line}\n" for line in [f"seed {seed}", *str(failure).splitlines()[:3]])
    path = folder / words[:60] if len(files) > 1 else folder / f"{words[:60]}.yaml"
    for name, text in {**files, FILE: comment + files[FILE]}.items():
        file = path / name if len(files) > 1 else path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    print(f"--- {path}\n{small.shown()}---", flush=True)


if __name__ == "__main__":
    sys.exit(main())
