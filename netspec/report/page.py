"""The page of a build: one HTML file that needs nothing else, for people and for printing."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.network import Network
from netspec.report.columns import MB, megabytes
from netspec.report.evaluated import NO_SHARE, NO_SHARE_MEANS, class_shares, metric_text
from netspec.report.markup import html_table
from netspec.report.origin import origin_text
from netspec.report.page_verdict import verdict_section
from netspec.report.table import row_text, sizes
from netspec.storage.stages import EVALUATION
from netspec.verify.result import Verdict

if TYPE_CHECKING:
    from netspec.inference.evaluation import Evaluation

MAX_CLASSES = 100


@dataclass(frozen=True, slots=True)
class Trained:
    """What there is to say of the weights."""

    origin: Mapping[str, Any] | None = None
    """What the build noted of them."""
    evaluation: Evaluation | None = None
    """What the trained network makes of images that it was not trained on."""
    plot: Path | None = None
    """The PNG of the training."""
    confusion: Path | None = None
    """The PNG of the confusion matrix."""


def report_page(
    network: Network,
    verdict: Verdict,
    versions: Mapping[str, str],
    artefacts: Mapping[str, str],
    trained: Trained | None = None,
) -> str:
    """The whole page.

    `versions` are by library, `artefacts` the sha256 of every file by its path in the build folder. Every text is
    escaped; nothing is loaded from elsewhere.
    """
    title = escape(network.name)
    about = f"<p>{escape(network.about)}</p>" if network.about else ""
    style = resources("netspec.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title} – netspec</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{about}\n"
        f"{_facts(network)}\n{verdict_section(verdict)}\n{_weights(trained or Trained())}{_layers(network)}\n"
        f"{_artefacts(artefacts)}\n{_versions(versions)}\n</main>\n</body>\n</html>\n"
    )


def _facts(network: Network) -> str:
    several = len(network.inputs) > 1
    inputs = ", ".join(f"{name} {given}" if several else str(given) for name, given in network.inputs.items())
    facts = {
        "input": inputs,
        "output": str(network.output_type),
        "parameters": f"{network.parameters:,}",
        "trainable": f"{network.trainable:,}",
        "MACs per sample": f"{network.macs:,}",
        "weights": f"{megabytes(network.parameters * 4)} MB",
    }
    return (
        "<dl>"
        + "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
        + "</dl>"
    )


def _weights(trained: Trained) -> str:
    return "\n".join(["<section>\n<h2>Weights</h2>", *_said_of(trained), "</section>\n"])


def _said_of(trained: Trained) -> Iterator[str]:
    if trained.origin:
        yield f"<p>{escape(origin_text(trained.origin))}</p>"
    if trained.plot is not None:
        yield _picture(trained.plot, "loss and accuracy over the epochs")
    found = trained.evaluation
    if found is None:
        return
    metrics = found.metrics.items()
    said = (f"{escape(name.replace('_', ' '))} <b>{metric_text(name, value)}</b>" for name, value in metrics)
    yield f"<p>On {found.images:,} {escape(found.split)} images of {escape(found.data)}: {', '.join(said)}.</p>"
    if trained.confusion is not None:
        yield _picture(trained.confusion, "what each class was predicted as")
    rows = [[escape(each.name), *shares, f"{each.support:,}"] for each, shares in class_shares(found)]
    yield html_table(["class", "precision", "recall", "F1", "images"], rows[:MAX_CLASSES], right=(1, 2, 3, 4))
    if len(rows) > MAX_CLASSES:
        yield f"<p>And {len(rows) - MAX_CLASSES:,} more classes, which {EVALUATION} has.</p>"
    if any(NO_SHARE in row[1:4] for row in rows[:MAX_CLASSES]):
        yield f"<p>{NO_SHARE_MEANS}</p>"


def _picture(path: Path, what: str) -> str:
    image = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{what}" src="data:image/png;base64,{image}">'


def _layers(network: Network) -> str:
    rows = [
        [
            f"<code>{escape(row.name)}</code>",
            escape(row_text(row)),
            str(row.output),
            f"{row.trainable:,}",
            f"{row.non_trainable:,}",
            f"{row.macs:,}",
            f"{row.output.size * 4 / 1024:,.2f}",
        ]
        for row in network.rows
    ]
    total = sum(row.output.size for row in network.rows) * 4 / 1024
    sums = [
        "total",
        "",
        "",
        f"{network.trainable:,}",
        f"{network.non_trainable:,}",
        f"{network.macs:,}",
        f"{total:,.2f}",
    ]
    rows.append([f"<b>{cell}</b>" if cell else "" for cell in sums])
    header = ["row", "layer", "output", "trainable", "non-trainable", "MACs", "KB"]
    memory = ", ".join(f"{name.lower()} {size / MB:,.2f}" for name, size in sizes(network).items())
    note = (
        f"<p>KB is the memory of each row's output for one sample, in float32. In MB, for a batch of one: {memory}.</p>"
    )
    return f"<section>\n<h2>Layers</h2>\n{html_table(header, rows, right=(3, 4, 5, 6))}\n{note}\n</section>"


def _artefacts(artefacts: Mapping[str, str]) -> str:
    rows = [
        [f"<code>{escape(name)}</code>", f"<code>{escape(digest)}</code>"] for name, digest in sorted(artefacts.items())
    ]
    return f"<section>\n<h2>Artefacts</h2>\n{html_table(['file', 'sha256'], rows)}\n</section>"


def _versions(versions: Mapping[str, str]) -> str:
    rows = [[escape(name), escape(version)] for name, version in versions.items()]
    return f"<section>\n<h2>Versions</h2>\n{html_table(['library', 'version'], rows)}\n</section>"
