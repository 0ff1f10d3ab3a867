"""The commands about files that others made: their arguments and exit codes, no logic."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from netspec.cli.app import command
from netspec.cli.arguments import (
    FlattenedOption,
    Format,
    Ignored,
    KerasOn,
    MappingFile,
    Output,
    Report,
    Seed,
    Sets,
    SpecPath,
    Timeout,
    Variant,
    WeightsFile,
    check_safetensors,
    load_chosen,
)
from netspec.cli.console import complain, say, say_json
from netspec.cli.pages import CHANGES, EXCHANGE
from netspec.errors import BackendError

if TYPE_CHECKING:
    from netspec.spec.model import Spec

SPECS = (".yaml", ".yml")
"""The endings of specs, for a command that takes files as well."""


Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        metavar="NAME",
        help="Take this one of B's variants, where both are specs; given twice, of A's and of B's.",
        rich_help_panel=CHANGES,
    ),
]


@command(
    EXCHANGE,
    "# Two specs, row by row",
    "netspec diff specs/squeezenet-1.0.yaml specs/squeezenet-1.1.yaml",
    "# A spec and one of its variants",
    "netspec diff specs/shufflenet-v2.yaml specs/shufflenet-v2.yaml --variant x0.5",
    "# Two models, by their tensors and by what they compute",
    "netspec diff old.onnx new.keras",
)
def diff(
    left: Annotated[Path, typer.Argument(metavar="A", help="A spec, a file of weights, or an exported model.")],
    right: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    variant: Variants = None,
    timeout: Timeout = 300.0,
    keras_backend: KerasOn = None,  # noqa: ARG001 - its callback tells the processes
    format_: Output = Format.text,
) -> None:
    """What differs between two specs, or two files of weights or models; exit status 1 where something does, 3 where
    that could not be found out.

    Specs are compared in their resolved meaning, row by row by name; files
    tensor by tensor, and two models by what they compute. A spec and a file
    are `netspec verify SPEC --against FILE`.
    """
    from netspec.report.diff import files_text, specs_text
    from netspec.spec.load import load_spec

    specs = [path for path in (left, right) if path.suffix in SPECS]
    if len(specs) == 1:
        [file] = {left, right} - set(specs)
        complain(f"netspec: a spec and a file: this is `netspec verify {specs[0]} --against {file}`")
        report = Report.json if format_ is Format.json else Report.text
        prove_against(load_spec(specs[0]), [file], None, None, (), None, timeout, report)
    gc.enable()
    from netspec.diff import diff_files, diff_specs

    chosen = _variants(variant or [], specs)
    found: Any = (
        diff_specs(*(load_spec(path, variant=name) for path, name in zip(specs, chosen, strict=True)))
        if specs
        else diff_files(left, right, timeout)
    )
    if format_ is Format.json:
        say_json(found.model_dump(mode="json"))
    else:
        say(specs_text(found) if specs else files_text(found))
    raise typer.Exit(0 if found.equal else 1 if found.differs else BackendError.exit_code)


def _variants(names: Sequence[str], specs: Sequence[Path]) -> tuple[str | None, ...]:
    """The variant of each of the specs that are compared."""
    if len(names) > len(specs):
        what = f"there are {len(specs)} specs" if specs else "files have none"
        raise typer.BadParameter(f"{', '.join(names)}: {what}", param_hint="--variant")
    return (*(None for _ in specs[len(names) :]), *names)


@command(
    EXCHANGE, "# Values for the tests of another program", "netspec golden specs/digits-cnn.yaml -o digits.safetensors"
)
def golden(
    spec: SpecPath,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The .safetensors file to write.")],
    weights: WeightsFile = None,
    seed: Seed = None,
    set_: Sets = None,
    variant: Variant = None,
) -> None:
    """Write inputs, weights and expected outputs to one file, which `expect: {golden: FILE}` pins.

    Any tool that reads safetensors can test with it: inputs.NAME, weights.ROW.NAME,
    outputs.NAME, channels last, and granted.NAME, how far float32 may be off.
    """
    from netspec.storage.stages import sha256
    from netspec.verify.golden import drawn, write

    check_safetensors(output)
    bundle, network = drawn(load_chosen(spec, set_, variant), weights, seed)
    write(output, bundle, network)
    names = f"inputs {', '.join(bundle.inputs)}; outputs {', '.join(bundle.outputs)}"
    say(f"{output}: {names}\nsha256 {sha256(output)}")


@command(
    EXCHANGE,
    "# A state dict of PyTorch",
    "netspec import-weights specs/resnet18.yaml resnet18.pth -o weights.safetensors",
    "# A network with a part that the spec does not have",
    "netspec import-weights specs/inception-v3.yaml v3.pth -o v3.safetensors \\",
    "    --ignore 'AuxLogits.*'",
    name="import-weights",
)
def import_weights(
    spec: SpecPath,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A .safetensors, .pt, .pth, .bin, .pt2, .keras, .h5 or .onnx file."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="The .safetensors file to write.")],
    mapping: MappingFile = None,
    ignore: Ignored = None,
    flattened: FlattenedOption = None,
    set_: Sets = None,
    variant: Variant = None,
    format_: Output = Format.text,
) -> None:
    """Turn weights that others trained into netspec's: matched by name, or by order and shape.

    PyTorch state dicts, Keras archives and weight files, and ONNX files are
    read as numbers; nothing in them is run. Without an error the output is
    written, whole; with one it is not.
    """
    from netspec.compile import compile_spec
    from netspec.importing import import_weights as run_import
    from netspec.report.imported import imported_json, imported_text
    from netspec.weights import save

    check_safetensors(output)
    network = compile_spec(load_chosen(spec, set_, variant))
    found = run_import(
        file, network, mapping=mapping, ignore=ignore or (), flattened=flattened.value if flattened else None
    )
    save(output, found.weights, network)
    if format_ is Format.json:
        say_json(imported_json(found, network, output))
    else:
        say(imported_text(found, network, output))


def prove_against(
    spec: Spec,
    files: list[Path],
    weights: Path | None,
    mapping: Path | None,
    ignore: Sequence[str],
    flattened: FlattenedOption,
    timeout: float,
    format_: Report,
    changed: Sequence[str] = (),
) -> NoReturn:
    """Print the verdict on files against a spec, and end with its status: 0 equal, 1 not equal, 3 not proven.

    `changed` are the options that changed the spec, word by word, for commands that show the verdict again.
    """
    from netspec.report.against import against_text
    from netspec.verify.against.files import verify_against

    gc.enable()
    verdict = verify_against(
        spec,
        files,
        weights,
        mapping=mapping,
        ignore=ignore,
        flattened=flattened.value if flattened else None,
        limit_s=timeout,
    )
    if format_ is Report.json:
        say_json(verdict.model_dump(mode="json"))
    else:
        options = [
            *changed,
            *(["--weights", str(weights)] if weights else []),
            *(["--mapping", str(mapping)] if mapping else []),
        ]
        options += [word for pattern in ignore for word in ("--ignore", pattern)]
        options += ["--flattened", flattened.value] if flattened else []
        say(against_text(verdict, spec.file, options))
    if format_ is Report.github and not verdict.passed:
        from netspec.compile import compile_spec
        from netspec.report.github import against_github

        say(against_github(verdict, compile_spec(spec), spec.file))
    raise typer.Exit(0 if verdict.passed else 1 if verdict.differs else BackendError.exit_code)
