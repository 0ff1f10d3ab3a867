"""A random valid spec from a seed: inputs, variables, defaults, blocks, a base, several ends, variants, files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from random import Random

from netspec.tensors import TensorType
from tests.fuzz.bodies import MOST_MACS, MOST_WEIGHTS, Body, block_of, join, steps, use
from tests.fuzz.document import HEADERS, Base, Block, Document, Formula, Name, Row, Value, computed
from tests.fuzz.kept import BASE, INVALID, Given
from tests.fuzz.meaning import Meaning, meaning
from tests.fuzz.variants import variants_of
from tests.fuzz.walk import Scope, names_of, shapes, varied

MOST_ROWS = 60
FILES = (("trunk.yaml", "bases/trunk.yaml", "bases/deep/trunk.yaml"), ("other.yaml", "bases/other.yaml"))
"""The files of a base, and of a base of that."""
TEXTS = (
    "plain", "with 'single' and \\\"double\\\" quotes", "a back\\\\slash at the end\\\\", "한국어, 日本語, ü",
    "{x} %s ${y} #z",
    'three \\"\\"\\" of them', "line one\\nline two", "trailing blank ", "<b>&amp;</b>", "# comment",
    "\\u2028 separator",
)  # fmt: skip


def document(seed: int | str) -> Document:
    """The spec of this seed: the same one in every process, on every machine with this version of the generator."""
    r = Random(f"netspec {seed}")
    for _ in range(1000):
        found = _document(r)
        if found is not None:
            return found
    raise AssertionError(f"no valid spec comes of seed {seed}")


def _document(r: Random, depth: int = 0) -> Document | None:
    base = _base(r, depth) if depth < len(FILES) and r.random() < 0.25 else None
    inputs = _inputs(r) if base is None else _inputs_of(r, base)
    variables = _variables(r)
    values = computed(variables)
    defaults = _defaults(r, values)
    blocks: dict[str, Block] = {}
    for _ in range(r.choice([0, 0, 1, 1, 2, 3])):
        block = block_of(r, blocks, values, defaults)
        if block is not None:
            blocks[block.name] = block
    begun = Document("net", inputs, (), base=base)
    given = {name: Given(name, TensorType(shape)) for name, shape in shapes(begun).items()}
    scope = Scope(given, values, next(iter(given.values())) if len(given) == 1 else None)
    body = Body(r, blocks, values, scope, defaults, base)
    if not _begin(body):
        return None
    outputs = steps(body, r.choice([1, 2, 3, 4, 6, 9]), ends=True)
    for block in list(blocks.values()):
        if not any(
            row.type == block.name for row in [*body.rows, *(row for each in blocks.values() for row in each.rows)]
        ):
            use(body, block)
    if not body.rows:
        return None
    if outputs:
        outputs["end"] = body.named()
        if r.random() < 0.4:
            outputs = {row: row for row in outputs.values()}
    rows = tuple(body.rows)
    if rows[0] == Row(BASE) or (rows[0].type == BASE and rows[0] == Row(BASE, sources=tuple(shapes(begun)))):
        # The section alone says that its rows come first.
        rows = rows[1:] if r.random() < 0.7 else rows
    found = Document(
        name=r.choice(["net", "Net-2", "a.b", "torch", "x", "conv_1", "my_model", "keras", "N1"]),
        inputs=inputs,
        rows=rows,
        blocks=tuple(r.sample(list(blocks.values()), len(blocks))),
        variables=variables,
        defaults=defaults,
        outputs=outputs,
        table=r.choice(list(HEADERS)) if rows and r.random() < 0.15 else "",
        lists=r.random() < 0.25,
        base=base,
    )
    return _finished(r, _unnamed(r, found))


def _begin(body: Body) -> bool:
    """The first rows: those of the base now or somewhat later, and one value of several inputs."""
    r, inputs = body.r, list(body.scope.values)
    if body.base is None:
        return len(inputs) == 1 or join(body, inputs)
    wanted = len(shapes(varied(body.base.document, body.base.variant)))
    if wanted == len(inputs) > 1:
        return body.add(Row(BASE, sources=tuple(inputs)))
    if len(inputs) > 1 and not join(body, inputs):
        return False
    if r.random() < 0.2:
        steps(body, r.randint(1, 2))
    row = Row(BASE, frozen=r.random() < 0.1, name=body.name() if r.random() < 0.05 else None)
    return wanted == 1 and body.add(row)


def _base(r: Random, depth: int) -> Base | None:
    """Another spec as the base, cut somewhere, perhaps as one of its variants, some of it frozen."""
    inner = _document(r, depth + 1)
    if inner is None:
        return None
    variant = r.choice(inner.variants).name if inner.variants and r.random() < 0.7 else None
    means = meaning(inner, variant)
    names = [*means.rows, *means.uses, *means.outputs]
    output = r.choice(names) if len(means.outputs) > 1 or r.random() < 0.7 else None
    choice = r.random()
    freeze: bool | tuple[str, ...] = choice < 0.25
    if choice > 0.6:
        freeze = tuple(_pattern(r, r.choice([*means.rows, *means.uses])) for _ in range(r.choice([1, 1, 2])))
    return Base(inner, r.choice(FILES[depth]), output, freeze, variant)


def _pattern(r: Random, name: str) -> str:
    """A pattern that matches this row or block, and perhaps others."""
    at = r.randint(0, len(name))
    patterns = [name, name, name[:at] + "*", "*" + name[at:], name[:at] + "?" * (at < len(name)) + name[at + 1 :]]
    patterns.append(f"[{name[0]}_-]{name[1:]}")
    return r.choice(patterns)


def _inputs(r: Random) -> dict[str, tuple[int, ...]]:
    rank = r.choice([0, 1, 1, 1, 2, 2, 2, 2, 3, 3])
    if r.random() < 0.8:
        return {"input": _shape(r, rank)}
    names = r.sample(["image", "mask", "left", "right", "Left", "state"], r.choice([1, 2, 2, 3]))
    first = _shape(r, rank)
    return {name: first if r.random() < 0.5 else _shape(r, r.choice([rank, rank, 0])) for name in names}


def _shape(r: Random, rank: int) -> tuple[int, ...]:
    most = {0: 20, 1: 17, 2: 13, 3: 6}[rank]
    spatial = (r.choice([1, 2, 3, 5, 7, 11, r.randint(1, most), r.randint(4, most)]) for _ in range(rank))
    return (*(min(size, most) for size in spatial), r.choice([1, 2, 3, 3, 4, 5, 6, 8]) if r.random() < 0.97 else 32)


def _inputs_of(r: Random, base: Base) -> dict[str, tuple[int, ...]]:
    """The inputs of a spec that has a base: the base's own, the same under other names, of other sizes, or others."""
    own = shapes(varied(base.document, base.variant))
    choice = r.random()
    if choice < 0.5:
        return {}
    if choice < 0.6:
        return _inputs(r)
    names = list(own) if choice < 0.8 else r.sample(["photo", "Place", "in_1", "left"], len(own))
    return {
        name: shape if r.random() < 0.5 else (*_shape(r, len(shape) - 1)[:-1], shape[-1])
        for name, shape in zip(names, own.values(), strict=True)
    }


def _variables(r: Random) -> dict[str, Value]:
    if r.random() > 0.4:
        return {}
    choices: dict[str, Value] = {
        "Rate": 0.25,
        "deep": r.random() < 0.5,
        "act": r.choice(["tanh", "none"]),
        "rim": "same",
    }
    found: dict[str, Value] = {"wide": r.randint(1, 3)}
    found |= {name: value for name, value in choices.items() if r.random() < 0.3}
    if r.random() < 0.3:
        found["twice"] = Formula("*", 2, Name("wide"))
    if r.random() < 0.2:
        found["many"] = Formula(">", Name("wide"), 1)
    return found


def _defaults(r: Random, variables: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    choices: list[tuple[str, dict[str, Value]]] = [
        ("Conv", {"padding": "same"}), ("Conv", {"bias": False, "init": "he_normal"}), ("Conv", {"activation": "relu"}),
        ("BatchNorm", {"epsilon": 1e-5, "momentum": 0.9}), ("Dense", {"activation": "tanh"}),
        ("MaxPool", {"ceil": True}),
    ]  # fmt: skip
    if "Rate" in variables:
        choices.append(("Dropout", {"rate": Name("Rate")}))
    if "act" in variables:
        choices.append(("CNN", {"activation": Name("act")}))
    if "rim" in variables:
        choices.append(("MaxPool", {"padding": Name("rim")}))
    return dict([r.choice(choices)]) if r.random() < 0.25 else {}


def _unnamed(r: Random, found: Document) -> Document:
    """The document with some of its names gone; who reads such a row says its kind and number."""
    for body, rows in found.bodies().items():
        chosen = {at for at, row in enumerate(rows) if row.name and row.type != BASE and r.random() < 0.2}
        nameless = (replace(row, name=None) if at in chosen else row for at, row in enumerate(rows))
        other = found.with_rows(body, tuple(nameless))
        try:
            names = names_of(other, body)
        except INVALID:
            continue  # they depend on what the block is told, or one that would be needed is taken
        renamed = {str(rows[at].name): names[at][-1] for at in chosen}
        reading = (
            replace(row, sources=tuple(renamed.get(name, name) for name in row.sources)) for row in other.bodies()[body]
        )
        other = other.with_rows(body, tuple(reading))
        if not body:
            outputs = {name: renamed.get(row, row) for name, row in other.outputs.items()}
            other = replace(other, outputs=outputs)
        try:
            meaning(other)
        except INVALID:
            continue  # a name that would be needed is taken
        found = other
    return found


def _finished(r: Random, found: Document) -> Document | None:
    """The document with the sections that say nothing about rows, with variants, and in files."""
    try:
        means = meaning(found)
    except INVALID:
        return None
    if not _small(means):
        return None
    sections: dict[str, str] = {}
    first = next(iter(means.outputs.values())).type
    expected = r.random() < 0.4
    if expected:
        sections["expect"] = _expected(r, means)
    if r.random() < 0.2:
        sections["about"] = f'"{r.choice(TEXTS)}"'
    labelled = r.random() < 0.1 and first.channels > 1
    if labelled:
        labels = [f'"{r.choice(TEXTS)} {number}"' for number in range(first.channels)]
        sections["classes"] = f"[{', '.join(labels)}]"
    sections |= _pictures(r, found) if r.random() < 0.15 else {}
    if r.random() < 0.15 and "export" not in sections:
        sections["export"] = "{onnx: {layout: nhwc}}"
    sections["verify"] = f"{{inputs: {r.choice([1, 2, 3])}, seed: {r.randrange(1000)}}}"
    found = replace(found, sections=sections)

    def suits(means: Meaning) -> bool:
        return _small(means) and (not labelled or next(iter(means.outputs.values())).type.channels == first.channels)

    if r.random() < 0.3:
        variants = variants_of(r, found, suits, (lambda means: _expected(r, means)) if expected else None)
        found = replace(found, variants=variants)
        found = replace(
            found, chosen=r.choice([None, *(each.name for each in variants), *(each.name for each in variants)])
        )
    return _in_files(r, found)


def _pictures(r: Random, found: Document) -> dict[str, str]:
    """How a picture becomes the input, which the artefacts then read as bytes, if it may be one."""
    [shape, *others] = shapes(found).values()
    if others or len(shape) != 3 or shape[-1] not in (1, 3):
        return {}
    said = {
        "scale": r.choice(["1/255", "1/127.5", "1"]),
        "mean": r.choice(["0.5", "[0.485, 0.456, 0.406]" if shape[-1] == 3 else "[0.1]"]),
        "std": r.choice(["2", "0.25"]),
        **({"channels": "bgr"} if shape[-1] == 3 else {}),
    }
    chosen = {name: text for name, text in said.items() if r.random() < 0.6}
    layout = r.choice(["nchw", "nhwc"])
    return {
        "preprocess": f"{{{', '.join(f'{name}: {text}' for name, text in chosen.items())}}}",
        "export": f"{{onnx: {{layout: {layout}}}, preprocessing: true}}",
    }


def _small(means: Meaning) -> bool:
    weights = max(kept.size for kept in means.rows.values())
    return len(means.rows) <= MOST_ROWS and means.macs <= 3 * MOST_MACS and weights <= MOST_WEIGHTS


def _expected(r: Random, means: Meaning) -> str:
    """The section `expect`."""
    facts: dict[str, object] = {
        "parameters": means.parameters,
        "trainable": means.trainable,
        "non_trainable": means.parameters - means.trainable,
        "macs": means.macs,
        "output": next(iter(means.outputs.values())).type,
        "layers": sum(len(kept.layers) for kept in means.rows.values()) + means.inputs + len(means.outputs),
    }
    written = [f"{name}: {value}" for name, value in facts.items() if r.random() < 0.8]
    rows = {name: (kept.given.type, kept.size) for name, kept in means.rows.items()}
    rows |= {use: (result.type, sum(kept.size for kept in means.inside(use))) for use, result in means.uses.items()}
    named = r.sample(list(rows), min(len(rows), r.randint(0, 3)))
    written.append("shapes: {" + ", ".join(f"{name}: {rows[name][0]}" for name in named) + "}")
    written.append("counts: {" + ", ".join(f"{name}: {rows[name][1]}" for name in named) + "}")
    return "{" + ", ".join(written) + "}"


def _in_files(r: Random, found: Document) -> Document:
    """The document with some of its sections in files that it includes."""
    if r.random() > 0.25:
        return found
    included = tuple(part for part in _parts(found) if r.random() < 0.4)
    beside = tuple(block.name for block in found.blocks if r.random() < 0.4) if "blocks" in included else ()
    return replace(found, included=included, beside=beside)


def _parts(found: Document) -> Iterator[str]:
    yield from (part for part in ("variables", "defaults", "variants", "blocks") if getattr(found, part))
    yield from found.sections
    if found.rows and not found.table:
        yield "layers"
    yield from (f"blocks.{block.name}" for block in found.blocks)
