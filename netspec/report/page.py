"""The page of a build: one HTML file that needs nothing else, for people and for printing."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from netspec.network import Network
from netspec.report.columns import MB, megabytes
from netspec.report.markup import html_table
from netspec.report.outcome import metric_text, origin_text
from netspec.report.page_verdict import verdict_section
from netspec.report.table import row_text, sizes
from netspec.verify.result import Verdict


def report_page(
    network: Network,
    verdict: Verdict,
    versions: Mapping[str, str],
    artefacts: Mapping[str, str],
    plot: Path | None = None,
    test: Mapping[str, float] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> str:
    """The whole page.

    `versions` are by library, `artefacts` the sha256 of every file by its path in the build folder, `plot` the PNG of
    the training, `test` its metrics on the test images, and `origin` what the build noted of the weights. Every text
    is escaped; nothing is loaded from elsewhere.
    """
    title = escape(network.name)
    about = f"<p>{escape(network.about)}</p>" if network.about else ""
    style = resources("netspec.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title} – netspec</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{about}\n"
        f"{_facts(network)}\n{verdict_section(verdict)}\n{_weights(origin, plot, test)}{_layers(network)}\n"
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


def _weights(origin: Mapping[str, Any] | None, plot: Path | None, test: Mapping[str, float] | None) -> str:
    parts = ["<section>\n<h2>Weights</h2>"]
    if origin:
        parts.append(f"<p>{escape(origin_text(origin))}</p>")
    if test:
        said = (f"{escape(name.replace('_', ' '))} <b>{metric_text(name, value)}</b>" for name, value in test.items())
        parts.append(f"<p>On the test split: {', '.join(said)}.</p>")
    if plot is not None:
        image = base64.b64encode(plot.read_bytes()).decode("ascii")
        parts.append(f'<img alt="loss and accuracy over the epochs" src="data:image/png;base64,{image}">')
    return "\n".join([*parts, "</section>\n"])


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
