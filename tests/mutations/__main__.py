"""`python -m tests.mutations [--backend torch] [--fact WORDS]`: the mutation score of the verifier."""

from __future__ import annotations

import argparse
import sys
import time

from tests.mutations.facts import FACTS
from tests.mutations.score import score


def main() -> int:
    """Print every finding, then the score; 1 where something was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="")
    parser.add_argument("--fact", default="", help="only facts whose name has these words")
    arguments = parser.parse_args()
    chosen = {name: fact for name, fact in FACTS.items() if arguments.fact in name}
    found, missed, started = {}, [], time.monotonic()
    for finding in score(chosen, arguments.backend):
        mark = "found " if finding.found else "MISSED"
        print(f"{mark} {finding.backend:6} {finding.section:20} {finding.fact}: {finding.said[:160]}", flush=True)
        counts = found.setdefault((finding.section.split()[0], finding.backend), [0, 0])
        counts[0] += finding.found
        counts[1] += 1
        missed += [finding] * (not finding.found)
    sections = sorted({section for section, _ in found})
    backends = [name for name in ("torch", "keras", "onnx") if any(name == backend for _, backend in found)]
    print(f"\n{'section':10}" + "".join(f"{name:>10}" for name in backends))
    for section in sections:
        cells = ("/".join(map(str, found.get((section, name), "--"))) for name in backends)
        print(f"{section:10}" + "".join(f"{cell:>10}" for cell in cells))
    seconds, total = time.monotonic() - started, sum(counts[1] for counts in found.values())
    print(f"{total - len(missed)} of {total} planted faults found: {len(chosen)} facts, {seconds:.0f} s")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
