"""One spec through all that a user does with it, and what fails there.

It is compiled, resolved, formatted, overridden, compared and shown; exported twice, read back, verified and reported.
"""

from __future__ import annotations

import ast
import re
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.backend import ExportSettings
from netspec.compile import compile_spec
from netspec.compile.pixels import exported_network
from netspec.compile.resolved import resolved_spec
from netspec.diff.specs import diff_specs
from netspec.errors import BackendError, SpecError, UnsupportedError
from netspec.importing import import_weights
from netspec.network import Network
from netspec.report.diff import specs_text
from netspec.spec.format import Style, format_spec
from netspec.spec.load import load_spec, parse_spec
from netspec.spec.model import Spec, VerifySettings
from netspec.spec.override import variant_names
from netspec.spec.write import write_yaml
from netspec.verify import verify
from netspec.verify.result import BackendVerdict
from netspec.weights import draw
from tests.fuzz.document import FILE, NOTE, Document
from tests.fuzz.meaning import Meaning, meanings
from tests.fuzz.shown import drawn, reported
from tests.fuzz.workers import Asked, Workers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STYLES: tuple[Style, ...] = ("pipes", "mapping", "table")


@dataclass(frozen=True)
class Failure:
    """Something that is not as it should be; two of the same `key` are taken for the same fault."""

    stage: str
    message: str
    backend: str = ""
    symptom: str = ""
    kind: str = ""
    """The kind of the first row that is wrong."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return (self.stage, self.backend, self.symptom, self.kind)

    def __str__(self) -> str:
        place = " ".join(part for part in self.key if part)
        return f"{place}: {self.message}"


@dataclass(frozen=True)
class Case:
    """A spec that should be valid, in all of its variants: its files, its own first."""

    files: Mapping[str, str]
    means: Mapping[str | None, Meaning] | None = None
    """What it and its variants are by the generator's own reckoning."""
    overrides: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What a variant says, as a command line would."""
    chosen: Sequence[str | None] | None = None
    """The variants that the backends are asked about; all of them where it is not said."""

    @staticmethod
    def of(document: Document) -> Case:
        """A document as a case; raises LayerError, ValueError or KeyError for one that is not valid."""
        return Case(document.files(), meanings(document), document.overrides(), (document.chosen,))

    @staticmethod
    def at(path: Path) -> Case:
        """A spec file as a case, or a folder with the files of one."""
        if path.is_file():
            return Case({FILE: path.read_text(encoding="utf-8")})
        found = {str(each.relative_to(path)): each.read_text(encoding="utf-8") for each in path.rglob("*.yaml")}
        return Case({FILE: found.pop(FILE), **found})


def check(case: Case, workers: Workers | None, only: str = "") -> list[Failure]:
    """What is wrong with a spec; without workers only the core is asked, `only` names the one backend to ask."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _check(case, Path(folder), workers, only)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        place = traceback.extract_tb(error.__traceback__)[-1]
        return [Failure("crash", traceback.format_exc(), symptom=type(error).__name__, kind=place.name)]


def _check(case: Case, folder: Path, workers: Workers | None, only: str) -> list[Failure]:
    path = write_files(case.files, folder / "spec")
    failures: list[Failure] = []
    found: dict[str | None, tuple[Spec, Network]] = {}
    try:
        own = load_spec(path)
        for variant in (None, *(variant_names(own.root) if own.root else ())):
            spec = load_spec(path, variant=variant)
            found[variant] = spec, compile_spec(spec)
    except SpecError as error:
        return [Failure("compile", str(error), symptom="refused", kind=error.problems[0].message[:40])]
    for variant, (_, network) in found.items():
        failures += _meant(network, case.means[variant]) if case.means is not None else ()
    failures += _same_again(case, folder, {variant: network for variant, (_, network) in found.items()})
    for variant, (spec, network) in found.items():
        failures += _same("resolve", "resolved", network, folder / "resolved.yaml", write_yaml(resolved_spec(spec)))
        failures += [Failure("show", message) for message in drawn(network)]
        if variant is not None:
            failures += _compared(found[None], found[variant])
        said = [f"name={network.name}", *case.overrides.get(variant or "", ())]
        if variant is not None and len(said) > 1:
            failures += _same("override", "set", network, path, case.files[FILE], said)
    if failures or workers is None:
        return failures
    asked = case.chosen if case.chosen is not None else tuple(found)
    return [failure for variant in asked for failure in _backends(*found[variant], workers, only)]


def write_files(files: Mapping[str, str], folder: Path) -> Path:
    """Write files into a folder; the path of the first."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / next(iter(files))


def _meant(network: Network, means: Meaning) -> Iterator[Failure]:
    found = {row.name: (row.output, row.trainable, row.non_trainable, row.macs) for row in network.rows}
    wanted = {
        name: (kept.given.type, kept.trainable, kept.size - kept.trainable, kept.macs)
        for name, kept in means.rows.items()
    }
    if list(found) != list(wanted):
        yield Failure("compile", f"the rows are compiled {list(found)}, walked {list(wanted)}", symptom="rows")
    for name in found.keys() & wanted.keys():
        if found[name] != wanted[name]:
            message = f"row {name}: type, trained, other weights, MACs: compiled {found[name]}, walked {wanted[name]}"
            yield Failure("compile", message, symptom="count")
    shapes = {name: network.types[value] for name, value in network.outputs.items()}
    walked = {name: value.type for name, value in means.outputs.items()}
    if shapes != walked:
        yield Failure("compile", f"the outputs are compiled {shapes}, walked {walked}", symptom="shape")
    uses = {use.name: (use.block, network.types[use.result]) for use in network.uses}
    if {name: given for name, (_, given) in uses.items()} != {name: value.type for name, value in means.uses.items()}:
        yield Failure("compile", f"the blocks at work are compiled {uses}, walked {means.uses}", symptom="uses")


def _same_again(case: Case, folder: Path, networks: Mapping[str | None, Network]) -> Iterator[Failure]:
    """The spec in every notation, and all specs that it is based on, are the same networks."""
    for style in STYLES:
        files = dict(case.files)
        try:
            for name, text in files.items():
                if "-parts/" in name or not re.search("^ *layers:( [|])?$", text, re.MULTILINE):
                    continue  # a part of a spec, or one that has all rows elsewhere
                files[name] = format_spec(text, str(folder / "spec" / name), style)
                if files[name].count(NOTE) != text.count(NOTE):
                    yield Failure("format", f"formatting {style} loses a comment:\n{files[name]}", symptom="comment")
                if format_spec(files[name], str(folder / "spec" / name), style) != files[name]:
                    yield Failure("format", f"formatting {style} twice gives another text", symptom=style)
        except SpecError as error:
            yield Failure("format", str(error), symptom=style)
        path = write_files(files, folder / style)
        for variant, network in networks.items():
            yield from _same("format", style, network, path, files[FILE], variant=variant)


def _same(
    stage: str,
    symptom: str,
    network: Network,
    path: Path,
    text: str,
    overrides: Sequence[str] = (),
    variant: str | None = None,
) -> Iterator[Failure]:
    """A failure if another text is not the same network."""
    try:
        same = compile_spec(parse_spec(text, str(path), overrides, variant)).digest == network.digest
        message = f"another network ({overrides or variant}):\n{text}"
    except SpecError as error:
        same, message = False, f"{error}\nin ({overrides or variant}):\n{text}"
    if not same:
        yield Failure(stage, message, symptom=symptom)


def _compared(own: tuple[Spec, Network], varied: tuple[Spec, Network]) -> Iterator[Failure]:
    """`netspec diff` finds that a variant is another network where it is one."""
    found = diff_specs(own[0], varied[0])
    # Parameters that no row uses are parts of a network's uses, and change nothing.
    same = replace(own[1], uses=()).digest == replace(varied[1], name=own[1].name, uses=()).digest
    if same != (not found.totals and not found.rows):
        yield Failure("diff", f"the networks are {'' if same else 'not '}the same: {specs_text(found)}")


def _backends(spec: Spec, network: Network, workers: Workers, only: str) -> Iterator[Failure]:
    network, settings = exported_network(spec, network), spec.verify or VerifySettings()
    weights = draw(network, settings.seed)
    with tempfile.TemporaryDirectory() as folder, workers.lent(only) as lent:
        able = {}
        for name, worker in lent.items():
            try:
                yield from _exported(name, worker, spec, network, weights, Path(folder))
                able[name] = worker
                if weights and name == sorted(lent)[settings.seed % len(lent)]:  # each costs a process that reads it
                    yield from _read_back(name, network, weights, Path(folder) / name)
            except (BackendError, UnsupportedError) as error:
                yield Failure("export", f"{error}\n{getattr(error, 'details', '')}", name, type(error).__name__)
        verdict = verify(network, weights, Path(folder), settings, able)
        yield from (_failure(found) for found in verdict.backends if not found.passed)
        yield from (Failure("report", message) for message in reported(network, verdict))


def _exported(
    name: str, worker: Asked, spec: Spec, network: Network, weights: Mapping[str, object], folder: Path
) -> Iterator[Failure]:
    """Export twice: sources and ONNX files come out the same, in another process and in this one."""
    settings = spec.export or ExportSettings()
    for place in (folder / name, folder / f"{name}-again"):
        place.mkdir()
    worker.call("export", network=network, weights=weights, folder=folder / name, settings=settings)
    sources = _rendered(name, network)
    if name == "onnx":
        again = folder / f"{name}-again"
        worker.call("export", network=network, weights=weights, folder=again, settings=settings)
        sources = {path.name: path.read_bytes() for path in again.iterdir()}
    for file, content in sources.items():
        if file.endswith(".py"):
            yield from _foreign(name, content)
        if (folder / name / file).read_bytes() != content:
            yield Failure("render", f"{file} comes out another way the second time", name, "changed")


def _read_back(
    name: str, network: Network, weights: Mapping[str, NDArray[np.float32]], folder: Path
) -> Iterator[Failure]:
    """The weights in an exported file, read as those of any other file, are what they were, bit for bit."""
    for path in sorted(folder.glob("*.*")):
        if path.suffix == ".py":
            continue
        try:
            found = import_weights(path, network)
        except (SpecError, BackendError) as error:
            yield Failure("import", str(error), name, "refused")
            continue
        wrong = [weight for weight, array in weights.items() if found.weights[weight].tobytes() != array.tobytes()]
        if wrong or len(found.weights) != len(weights):
            yield Failure(
                "import", f"{path.name}: read {found.how}, {wrong or 'others'} are not the same", name, "value"
            )


def _foreign(name: str, source: bytes) -> Iterator[Failure]:
    """The emitted source needs nothing of ours."""
    for node in ast.walk(ast.parse(source)):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [each.name for each in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            if module.split(".")[0] not in ("__future__", "collections", "math", name):
                yield Failure("render", f"the source imports {module}", name, "import")


def _rendered(name: str, network: Network) -> dict[str, bytes]:
    """The sources that this process renders, whose hashes of strings are others than the worker's."""
    from netspec_keras.render import render as render_keras
    from netspec_torch.render import render as render_torch

    from netspec.codegen.source import module_name

    if name == "torch":
        return {f"{module_name(network.name)}.py": render_torch(network).source.encode()}
    return {f"{module_name(network.name)}.py": render_keras(network).encode()} if name == "keras" else {}


def _failure(found: BackendVerdict) -> Failure:
    first = next((each for each in found.failures if each.row == found.first_row), found.failures[0])
    kind = next((row.kind for row in found.rows if row.row == first.row), "")
    others = "".join(f"\n  also {each.symptom}: {each.message}" for each in found.failures if each is not first)
    return Failure(first.stage, f"row {first.row}: {first.message}{others}", found.backend, first.symptom, kind)
