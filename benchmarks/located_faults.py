"""What locating faults in a file costs: several against none, in a chain of rows whose values the file shows.

    python benchmarks/located_faults.py [ROWS]

CPU time and evaluated nodes of the search alone, in one process: convolutions and BatchNorms in turn, of which one or
five have another epsilon, early in the chain. The reference goes through the network once, whatever is wrong in it.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import numpy as np

from netspec.backend import Rules
from netspec.backend.foreign import Made, Traced
from netspec.backend.stored import StoredTensor
from netspec.compile import compile_spec
from netspec.network import Network
from netspec.reference import interpret
from netspec.spec.load import parse_spec
from netspec.verify.against.located import Search
from netspec.verify.against.shown import Shown
from netspec.verify.budget import budget
from netspec.verify.gates import DRAWS, UNIT
from netspec.verify.inputs import biting_weights, hard_inputs

FAULTS = (0, 1, 5)
TURNS = 3


def chain(rows: int, wrong: int) -> Network:
    """Rows in turn; so many of the first BatchNorms have another epsilon."""
    layers = []
    for place in range(rows // 2):
        epsilon = 1e-2 if place < wrong else 1e-3
        layers += [f"  - CNN | 8, 3 | - | padding=same\n  - BatchNorm | - | ReLU | epsilon={epsilon}\n"]
    return compile_spec(parse_spec(f"name: chain\ninput: 16x16x8\nlayers:\n{''.join(layers)}", "chain.yaml"))


def search(right: Network, made: Network) -> Search:
    """A search in a file that computes `made`."""
    weights = biting_weights(right, 0)
    inputs = {name: batch[:3] for name, batch in hard_inputs(right, 3, 0).items()}
    values = {
        node.name: np.moveaxis(value, -1, 1).astype(np.float32) for node, value in interpret(made, weights, inputs)
    }
    tensors = {weight.name: node.name for node in right.nodes for weight in node.weights}
    shown = Shown(
        network=right,
        origins={name: StoredTensor(name, weights[name], "float32", weights[name].shape) for name in tensors},
        traced=Traced({}, values, {name: Made(node) for name, node in tensors.items()}),
        outputs={name: np.moveaxis(values[value], 1, -1) for name, value in right.outputs.items()},
        ports=right.outputs,
        first=True,
        count=3,
    )
    return Search(right, weights, inputs, shown, granted=budget, draws=DRAWS, unit=UNIT)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    evaluated: list[Any] = []
    apply = Rules.apply

    def counted(self: Any, node: Any) -> Any:
        evaluated.append(node)
        return apply(self, node)

    Rules.apply = counted  # type: ignore[method-assign]
    right, times, counts = chain(rows, 0), {}, {}
    for wrong in FAULTS:
        asked, spent = search(right, chain(rows, wrong)), []
        for _ in range(TURNS):
            evaluated.clear()
            start = time.process_time()
            found = asked.locate()
            spent.append(time.process_time() - start)
            assert len(found.culprits) == wrong
        times[wrong], counts[wrong] = statistics.median(spent), len(evaluated)
        print(
            f"{rows} rows, {wrong} faults: {times[wrong]:.2f} s of CPU, {times[wrong] / times[0]:.2f} of none; "
            f"{counts[wrong]:,} nodes evaluated, {counts[wrong] / counts[0]:.2f} of none"
        )
    print(f"five faults against none: {times[5] / times[0]:.2f}, at most 1.5")


if __name__ == "__main__":
    main()
