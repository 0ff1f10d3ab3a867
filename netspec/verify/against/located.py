"""Where a file that others made begins to differ: the reference goes through the network beside it.

Where a value of the file is wrong, it is judged alone (`judging`), and the reference goes on from it: what is wrong
behind it is wrong by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from netspec.network import Network, Node
from netspec.reference import interpret
from netspec.reference.table import Array, Values
from netspec.verify.against.judging import Culprit, Judging, Question
from netspec.verify.against.shown import Found
from netspec.verify.budget import Rounding, norms
from netspec.verify.causes import Work, products
from netspec.verify.causes.explain import rows_of
from netspec.verify.result import Blamed

MOST = 5
"""More rows than these are not blamed."""
WORK = 4e10
"""What looking for reasons may cost in products: twice what pairs of mistakes may at one row, ..."""
TIMES = 300
"""... and what evaluating the network so often does: every single mistake at every row, numbers included."""
ENDED = "looking for causes was too much work, and was ended"
ENOUGH = "so many rows to blame are enough"
"""Why rows are left."""
SHOWN = 5
"""Of more rows than these that were not judged, no names are said."""


@dataclass(frozen=True, slots=True)
class Located:
    """What was found: every node that the file shows, and those that are to blame, the first one first.

    A node behind one of these is compared with what the reference makes of the wrong value.
    """

    found: Mapping[str, Found] = field(default_factory=dict)
    culprits: tuple[Culprit, ...] = ()
    unjudged: tuple[str, ...] = ()
    """The rows that are wrong too, by themselves or for others, and were not judged, or not to the end."""
    why: str = ""
    """Why that is so."""

    @property
    def note(self) -> str | None:
        """What was not looked into, and why."""
        if not self.unjudged:
            return None
        more = len(self.unjudged) - SHOWN
        rows = ", ".join(map(repr, self.unjudged[:SHOWN])) + (f" and {more} more" if more > 0 else "")
        return f"{self.why}: not judged, or not to the end: {rows}"

    def blamed(self) -> Iterator[Blamed]:
        """The rows to blame, each with its reason."""
        for culprit in self.culprits:
            if not culprit.causes:
                yield Blamed(row=culprit.row, cause=None)
            yield from (Blamed(row=cause.row, cause=cause) for cause in culprit.causes)

    def certain(self) -> Located:
        """The same with no other culprits than those whose mistake is known; what was wrong otherwise is not shown."""
        culprits = tuple(each for each in self.culprits if each.known)
        kept = {each.found.node.name for each in culprits}
        found = {name: each for name, each in self.found.items() if each.right or name in kept}
        return replace(self, found=found, culprits=culprits)


def by_node(network: Network) -> Network:
    """The same network with every node a row of its own, so that predictions are made for each."""
    return replace(network, nodes=tuple(replace(node, row=node.name) for node in network.nodes), uses=())


class Search(Question):
    """The search for the rows of a file that are wrong by themselves."""

    def locate(self) -> Located:
        """Every node that the file shows, and the reasons of those that are wrong for what it computed before them.

        The reference goes through the network once, and on from what the file has where that is wrong. What looking
        for reasons may cost is bounded, in proportion to the network; `Located.unjudged` are the rows that are left.
        """
        work, taken, told = Work(self.most), dict[str, Array](), dict[str, Array]()
        judging = Judging(
            self.network, self.weights, self.inputs, self.shown, self.granted, self.draws, self.unit, work, told
        )
        found: dict[str, Found] = {}
        judged: list[Culprit] = []
        blamed: list[Culprit] = []
        unjudged: list[Node] = []
        for node, reference, granted in self._walk(taken):
            each = self.shown.found(node, reference, granted)
            if each is None:
                continue
            found[node.name], told[node.name] = each, each.array
            if each.right:
                continue
            culprit = None
            if len(blamed) < MOST and not work.spent:
                # Behind a value that nobody can explain only a known mistake is blamed: only what is likely is tried.
                thorough = all(before.known for before in blamed)
                culprit = judging.culprit(each, thorough=thorough)
            if culprit is None or work.spent:
                unjudged.append(node)
            if culprit is not None:
                judged.append(culprit)
                if culprit.alone and _adds(culprit, blamed):
                    blamed.append(culprit)
            if each.compared.symptom != "value":
                break  # nothing can be computed from it
            taken[node.name] = each.array
            if culprit is not None:
                before = culprit.found
                if before.node is not node:
                    right = judging.again((node,), {before.node.name: before.array}, each)
                    found |= {before.node.name: before, node.name: replace(each, compared=right)}
                wrong = {before.node.name: before.array, **dict(self._wrong(culprit))}
                taken |= wrong
                told |= wrong
        rows = rows_of(self.network)
        return Located(
            found,
            tuple(blamed or judged[:1]),
            tuple(dict.fromkeys(rows[node.name].name for node in unjudged)),
            ENDED if work.spent else ENOUGH,
        )

    @property
    def most(self) -> float:
        """What looking for reasons may cost, in products."""
        return WORK + TIMES * products(self.network.nodes, self.shown.count)

    def _walk(self, taken: Mapping[str, Array]) -> Iterator[tuple[Node, Values, Values]]:
        """Every node with what the reference has there, and how large an error each sample is granted.

        What is in `taken` by the time that a node reads it takes the place of that value.
        """
        disturbances = [None, *(Rounding(draw, self.unit) for draw in range(self.draws))]
        runs = [interpret(self.network, self.weights, self.inputs, each, taken) for each in disturbances]
        for (node, reference), *noisy in zip(*runs, strict=True):
            with np.errstate(all="ignore"):
                squares = sum(norms(value - reference) ** 2 for _, value in noisy)
                granted = self.granted(reference, np.sqrt(squares / self.draws))
            yield node, reference, granted

    def _wrong(self, culprit: Culprit) -> Iterator[tuple[str, Array]]:
        """What the file has where the mistakes of a culprit are: nodes before it may be read by others too."""
        nodes = {node.name: node for node in self.network.nodes}
        for reason in culprit.reasons:
            if reason.value is not None:
                value = np.asarray(reason.value, np.float64)
                granted = self.granted(value, np.zeros(len(value)))
                shown = self.shown.alike(nodes[reason.node], value, granted) if reason.node in nodes else None
                yield reason.node, reason.value if shown is None else shown.array


def _adds(culprit: Culprit, before: Sequence[Culprit]) -> bool:
    """Whether a culprit says more than those before it do.

    One mistake may show at several nodes behind it. Behind a value that no known mistake gives, which may be another
    than it was taken for, only a known mistake counts.
    """
    if any(culprit.known and each.mistakes == culprit.mistakes for each in before):
        return False
    return culprit.known or all(each.known for each in before)
