"""The gradients, for people: how far the backends are from each other and from the reference's slopes."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from netspec.report.columns import aligned
from netspec.report.markup import html_table
from netspec.verify.result import GradientsVerdict, GradientVerdict, Share

MODES = {"evaluation": "as evaluated", "training": "with the batch's statistics"}


def gradients_lines(found: GradientsVerdict) -> Iterator[str]:
    """What was derived, how near it came to what is granted, where it is further off, and what was left out."""
    if found.backends and found.weights:
        yield f"Gradients in float64: {gradients_title(found)}"
        yield from (f"  {line}" for line in aligned(list(_worst(found)), right=(1,)))
        for each in _wrong(found):
            yield f"  not granted: {each.name} {MODES[each.mode]} (row {each.row!r})"
    if found.unclear:
        yield f"  where a kink or rounding hides the reference's slope: {', '.join(found.unclear)}"
    yield from (f"  {note}" for note in found.notes)


def gradients_title(found: GradientsVerdict) -> str:
    """What was derived, by whom."""
    modes = dict.fromkeys(each.mode for each in found.weights)
    names = len({each.name for each in found.weights})
    samples = "1 sample" if found.samples == 1 else f"{found.samples} samples"
    how = " and ".join(MODES[mode] for mode in modes)
    return f"{' and '.join(found.backends)} by {names:,} weights and inputs, {samples}, {how}"


def gradients_section(found: GradientsVerdict | None) -> str:
    """The same as a part of the page, with a row for every weight; nothing where nothing was derived."""
    if found is None or not (found.weights or found.notes):
        return ""
    notes = "".join(f"<p>{escape(note)}</p>" for note in found.notes)
    if not found.weights:
        return f"<h3>Gradients</h3>\n{notes}\n"
    apart = [name for name in found.backends if any(name in each.apart for each in found.weights)]
    sloped = [name for name in found.backends if any(name in each.slopes for each in found.weights)]
    header = ["weight or input", "row", "mode"]
    header += [f"{escape(name)} from {escape(found.backends[0])}" for name in apart]
    header += [f"{escape(name)} from the reference's slope" for name in sloped]
    lines = [
        [
            f"<code>{escape(each.name)}</code>",
            f"<code>{escape(each.row)}</code>",
            MODES[each.mode],
            *(_cell(each.apart.get(name)) for name in apart),
            *(_cell(each.slopes.get(name)) for name in sloped),
        ]
        for each in found.weights
    ]
    note = (
        "<p>The sum of the outputs, each times a random number, derived by every trained weight and every input. The "
        "reference's slope along a random direction is a difference of two runs, which loses half of the digits.</p>"
    )
    table = html_table(header, lines, right=range(3, len(header)))
    return f"<h3>Gradients</h3>\n<p>{escape(gradients_title(found))}</p>\n{note}\n{table}\n{notes}\n"


def _worst(found: GradientsVerdict) -> Iterator[list[str]]:
    """The share nearest to what is granted, for each thing that the gradients are held against."""
    kinds = ((found.worst("apart"), "from each other"), (found.worst("slopes"), "from the reference's slopes"))
    for worst, title in kinds:
        if worst is not None:
            yield [title, f"{worst.error:.1e}", f"of {worst.granted:.1e} granted"]


def _wrong(found: GradientsVerdict) -> Iterator[GradientVerdict]:
    return (
        each for each in found.weights if any(share.exceeds for share in (*each.apart.values(), *each.slopes.values()))
    )


def _cell(share: Share | None) -> str:
    if share is None:
        return "-"
    text = "unclear" if share.ratio is None else f"{share.error:.1e}"
    return f'<span class="bad">{text}</span>' if share.exceeds else text
