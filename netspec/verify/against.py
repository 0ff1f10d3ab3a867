"""Any file against a spec: its weights are read, the reference computes with them, and its stock runtime runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.backend import Order, importers, openers
from netspec.errors import (
    NetspecError,
    SpecError,
    UnreadableError,
    UnsupportedError,
    VerificationError,
)
from netspec.importing import Imported, NotFiniteError, check_file, import_weights
from netspec.network import Network
from netspec.reference import interpret
from netspec.reference.table import Array, Values
from netspec.runnable import Described, Port, Traced
from netspec.stored import StoredTensor
from netspec.verify.budget import norms, predict
from netspec.verify.compare import Comparison, compare
from netspec.verify.gates import BUDGET_FACTOR, FLOOR_UNITS, UNIT
from netspec.verify.inputs import finite_problem
from netspec.verify.judge import measure
from netspec.verify.located import Located, Search, by_node
from netspec.verify.ports import FLOATS, INTEGERS, WORDS, Layout, Plug, PortError, canonical, laid_out, pair
from netspec.verify.result import (
    AgainstVerdict,
    Failure,
    FileVerdict,
    FoundRow,
    OutputVerdict,
    Stage,
    Symptom,
)
from netspec.verify.samples import choose_samples
from netspec.verify.settings import VerifySettings
from netspec.worker import Worker, WorkerDied, within

if TYPE_CHECKING:
    from netspec.backend import Weights

LIMIT_S = 300.0
"""How long a file may take to be read, and to be run, unless another limit is given."""
OTHER: Mapping[Order, Order] = {"first": "last", "last": "first"}
FLATTENED: Mapping[Order, str] = {"first": "channels, height, width", "last": "height, width, channels"}
HALF = 2.0**-11
"""Unit roundoff of float16."""
MODERATE = 100.0
"""Samples with larger values are not asked of a float16 file, where their sums overflow."""
SHOWN = 3
"""How many samples are looked into where an output differs."""


@dataclass(frozen=True)
class Request:
    """What is asked of a file, beside the network."""

    settings: VerifySettings
    weights: Weights | None = None
    """The weights that the file should have; when not given, those that it has."""
    turned: Callable[[], Weights | None] = lambda: None
    """Those of the same file with images flattened in the other order; None where that is known, or all the same."""
    given: str = ""
    """Where those come from, in words."""
    pixels: Network | None = None
    """The same network as it reads pixels from 0 to 255, where the spec says how."""
    mapping: Path | None = None
    ignore: Sequence[str] = ()
    flattened: Order | None = None
    limit_s: float = LIMIT_S


def check_against(network: Network, paths: Sequence[Path], request: Request) -> AgainstVerdict:
    """The verdict on files that others made; what goes wrong with one is a failure of that one alone.

    Raises SpecError for a path that is no file of a kind that can be read or run, and for weights that are no numbers.
    """
    for path in paths:
        check_file(path, network)
    if request.weights is not None and (lost := finite_problem(request.weights)):
        raise VerificationError(f"weight {lost} holds values that are not finite, so nothing can be compared with it")
    files = tuple(_Check(network, path, request).verdict() for path in paths)
    return AgainstVerdict(network=network.name, passed=all(file.passed for file in files), files=files)


class _Stopped(Exception):
    """Nothing more can be asked of the file."""


@dataclass
class _Check:
    """One file."""

    network: Network
    path: Path
    request: Request
    notes: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    outputs: tuple[OutputVerdict, ...] = ()
    names: tuple[str, ...] = ()
    runtime: str | None = None
    weights: str | None = None
    located: Located | None = None
    own: Imported | None = None
    """What was read out of the file."""
    given: Weights | None = None
    """The weights that were given, turned, where the file has them so."""

    def verdict(self) -> FileVerdict:
        """Everything that is found out; an error ends it where it is."""
        with suppress(_Stopped):
            self._ask()
        return FileVerdict(
            file=str(self.path),
            runtime=self.runtime,
            passed=not self.failures,
            weights=self.weights,
            samples=self.names,
            outputs=self.outputs,
            rows=tuple(self._rows()),
            notes=tuple(self.notes),
            failures=tuple(self.failures),
            first_row=self.located.row if self.located else None,
            alone=self.located.alone if self.located else None,
            cause=self.located.cause if self.located else None,
        )

    def _fail(self, stage: Stage, symptom: Symptom, message: str, row: str | None = None) -> None:
        self.failures.append(Failure(stage=stage, symptom=symptom, message=message, row=row))

    def _stop(self, stage: Stage, symptom: Symptom, message: str) -> _Stopped:
        self._fail(stage, symptom, message)
        return _Stopped()

    def _ask(self) -> None:
        """First whether its runtime takes it, then its weights, then its values."""
        known = {suffix: (place, backend) for place, backend in openers().items() for suffix in backend.opens}
        place, backend = known.get(self.path.suffix, ("", None))
        if backend is None:
            self._compare_weights_alone(self._known()[0])
            return
        if find_spec(module := backend.opens[self.path.suffix]) is None:
            raise self._stop("build", "unsupported", f"running it needs {module}, which is not installed")
        with Worker(place) as worker:
            described = self._asked(worker, "build", "describe_file", path=self.path)
            weights, origins = self._known()
            if described is not None:
                self._compare_model(worker, described, weights, origins)
                return
        self._compare_weights_alone(weights)

    # Weights

    def _known(self) -> tuple[Mapping[str, Array], Mapping[str, StoredTensor]]:
        """The weights that the reference computes with, and the tensor of the file that each is, where known."""
        imported = self._imported()
        given = self.given if self.given is not None else self.request.weights
        weights = given if given is not None else imported.weights if imported else {}
        return weights, imported.origins if imported else {}

    def _imported(self) -> Imported | None:
        """The weights in the file; where others are given, those only tell its values apart, and may differ."""
        request, given = self.request, self.request.weights
        if not any(True for _ in self.network.weights()):
            return None
        try:
            found = self._read(request.flattened)
        except UnreadableError as error:
            raise self._stop("build", "file", _reason(error, self.path)) from None
        except NotFiniteError as error:
            raise self._stop("build", "not finite", _reason(error, self.path)) from None
        except SpecError as error:
            if given is None:
                message = f"its weights do not fit: {_reason(error, self.path)}"
                hint = "where it was folded or optimised, --weights FILE.pth gives what they were before"
                raise self._stop("build", "weights", f"{message}\nhint: {hint}") from None
            self.weights = request.given
            self.notes.append(f"its own weights do not fit row by row: {_reason(error, self.path).splitlines()[0]}")
            return None
        except NetspecError as error:
            symptom: Symptom = "unsupported" if isinstance(error, UnsupportedError) else "crash"
            raise self._stop("build", symptom, str(error)) from None
        self.weights = request.given if given is not None else f"its own, matched {found.how}"
        if given is not None:
            found = self._paired(found)
            self._compare_weights(self.given or given, found)
        self.own = found
        self.notes += found.notes
        return found

    def _read(self, flattened: Order | None) -> Imported:
        request = self.request
        return import_weights(
            self.path,
            self.network,
            mapping=request.mapping,
            ignore=request.ignore,
            flattened=flattened,
            limit_s=request.limit_s,
        )

    def _paired(self, found: Imported) -> Imported:
        """What the file holds, in the order of flattened images in which it is what is given, where one is a guess."""
        given = self.request.weights
        assert given is not None
        if _same(given, found.weights):
            return found
        if found.guessed and _same(given, (other := self._read(OTHER[found.guessed])).weights):
            return other
        if (turned := self.request.turned()) is not None and _same(turned, found.weights):
            self.given = turned
        return found

    def _turned(self) -> Mapping[str, Array] | None:
        """The weights with images flattened in the other order, where that was a guess."""
        if self.request.weights is not None:
            return self.request.turned() if self.given is None else None
        return self._read(OTHER[self.own.guessed]).weights if self.own and self.own.guessed else None

    def _compare_weights(self, given: Weights, found: Imported) -> None:
        """A failure for every row whose weights are not those that are given."""
        for node in self.network.nodes:
            for weight in node.weights:
                ours, theirs = given[weight.name], found.weights[weight.name]
                if not np.array_equal(ours, theirs):
                    changed = int(np.count_nonzero(ours != theirs))
                    most = float(np.abs(ours - theirs).max())
                    name = found.origins[weight.name].name
                    message = (
                        f"its {name} is not the given {weight.name}: {changed:,} of {ours.size:,} numbers differ, "
                        f"by {most:.3g} at most"
                    )
                    self._fail("compare", "value", message, node.row)

    # Running

    def _asked(self, worker: Worker, stage: Stage, method: str, **arguments: Any) -> Any:
        """What a worker answers; anything else is a failure, and ends it."""
        try:
            with within(worker, self.request.limit_s):
                return worker.call(method, **arguments)
        except WorkerDied as error:
            raise self._stop(stage, "crash", str(error)) from None
        except UnsupportedError as error:
            raise self._stop(stage, "unsupported", str(error)) from None
        except VerificationError as error:
            raise self._stop(stage, "file", str(error)) from None
        except NetspecError as error:
            raise self._stop(stage, "crash", str(error)) from None

    def _compare_weights_alone(self, weights: Mapping[str, Array]) -> None:
        """A file of weights has no model: it runs in the emitted one."""
        [(place, backend)] = [each for each in importers().items() if self.path.suffix in each[1].suffixes]
        self.notes.append(
            f"it holds weights and no model, so it was run in the module that netspec emits for {backend.name}: "
            "strides, paddings and activations are the spec's"
        )
        samples = choose_samples(self.network, self.request.settings)
        self.names = samples.names
        with Worker(place) as worker:
            found = self._asked(worker, "run", "predict", network=self.network, weights=weights, inputs=samples.inputs)
        self.runtime = f"the emitted {backend.name} module"
        trial = _Trial(self.network, weights, samples.inputs, UNIT, samples.draws)
        plugs = [
            Plug(name, self.network.types[value], Port(name, (), "float32"), ("last",))
            for name, value in self.network.outputs.items()
        ]
        self._judge(trial, plugs, {name: (array, trial.compare(name, array)) for name, array in found.items()})

    def _compare_model(
        self, worker: Worker, described: Described, weights: Mapping[str, Array], origins: Mapping[str, StoredTensor]
    ) -> None:
        self.runtime = described.runtime
        try:
            inputs, said = pair(self.network.inputs, described.inputs, "input")
            types = {name: self.network.types[value] for name, value in self.network.outputs.items()}
            outputs, also = pair(types, described.outputs, "output")
        except PortError as error:
            raise self._stop("build", "shape", str(error)) from None
        self.notes += [note for note in (said, also) if note]
        for port in (*(each.port for each in inputs), *(each.port for each in outputs)):
            if port.dtype not in (*FLOATS, *INTEGERS):
                raise self._stop("build", "unsupported", f"its {port} is of a type that numpy does not have")
        found = [self._tried(worker, trial, inputs, outputs) for trial in self._trials(weights, inputs, described)]
        best = min(found, key=lambda each: each.ratio)
        if not best.agrees and (turned := self._turned()) is not None:
            again = [self._tried(worker, trial, inputs, outputs) for trial in self._trials(turned, inputs, described)]
            other = min(again, key=lambda each: each.ratio)
            if other.agrees:
                best = other
                self._note_turned()
        self.names = best.names
        self._note(best, inputs, outputs)
        self._judge(best.trial, outputs, best.outputs)
        ports = {plug.name: plug.port.name for plug in outputs}
        self._locate(worker, best, inputs, ports, origins)

    def _trials(self, weights: Mapping[str, Array], inputs: Sequence[Plug], described: Described) -> Iterator[_Trial]:
        """The network with samples that fit the file's types; where a spec says how, with pixels too."""
        request = self.request
        samples = choose_samples(self.network, request.settings)
        types = {port.dtype for port in (*described.inputs, *described.outputs)}
        unit = HALF if "float16" in types else UNIT
        if {plug.port.dtype for plug in inputs} <= set(FLOATS):
            batch, names = samples.inputs, samples.names
            if unit == HALF:
                most = [max(float(np.abs(each[place]).max()) for each in batch.values()) for place in range(len(names))]
                kept = [place for place, size in enumerate(most) if size <= MODERATE]
                batch = {name: each[kept] for name, each in batch.items()}
                names = tuple(names[place] for place in kept)
            yield _Trial(self.network, weights, batch, unit, samples.draws, names)
        if request.pixels is not None or {plug.port.dtype for plug in inputs} & set(INTEGERS):
            network = request.pixels or self.network
            batch, names = _pixels(network, request.settings)
            yield _Trial(network, weights, batch, unit, samples.draws, names, pixels=True)

    def _tried(self, worker: Worker, trial: _Trial, inputs: Sequence[Plug], outputs: Sequence[Plug]) -> _Run:
        """The file run in every layout that its shapes allow; the best counts."""
        runs = []
        for chosen in product(*(plug.layouts for plug in inputs)):
            given = {
                plug.port.name: _cast(laid_out(trial.inputs[plug.name], layout), plug.port.dtype)
                for plug, layout in zip(inputs, chosen, strict=True)
            }
            traced = self._run(worker, inputs, given)
            found = {plug.name: trial.closest(plug, traced.outputs[plug.port.name]) for plug in outputs}
            runs.append(_Run(trial, chosen, given, found))
        return min(runs, key=lambda each: each.ratio)

    def _run(
        self, worker: Worker, inputs: Sequence[Plug], given: Mapping[str, Array], *, trace: bool = False
    ) -> Traced:
        """The file's outputs, batch by batch where it has a fixed one; values on the way of a single such batch."""
        fixed = next((plug.port.shape[0] for plug in inputs if plug.port.shape and plug.port.shape[0]), None)
        count = len(next(iter(given.values())))
        if fixed is None or fixed == count:
            return self._traced(worker, given, trace)
        parts = []
        for start in range(0, count, fixed):
            places = [min(place, count - 1) for place in range(start, start + fixed)]  # the last one fills up
            parts.append(self._traced(worker, {name: each[places] for name, each in given.items()}, trace))
        outputs = {name: np.concatenate([part.outputs[name] for part in parts])[:count] for name in parts[0].outputs}
        values = {
            name: np.concatenate([part.values[name] for part in parts])[:count]
            for name, value in parts[0].values.items()
            if value.ndim and len(value) == fixed
        }
        return Traced(outputs, values, parts[0].made)

    def _traced(self, worker: Worker, given: Mapping[str, Array], trace: bool) -> Traced:
        found: Traced = self._asked(worker, "run", "run_file", path=self.path, inputs=given, trace=trace)
        return found

    def _note_turned(self) -> None:
        """Which order of flattened images agrees; what was said of the other one is true no more."""
        guess = self.own.guessed if self.own else None
        self.notes = [note for note in self.notes if "--flattened" not in note]
        which = "the weights" if self.request.weights is None else self.request.given
        self.notes.append(
            f"nothing says in which order images were flattened before {which}: both were tried, and "
            + (f"{FLATTENED[OTHER[guess]]} agrees" if guess else "the other than that of the names agrees")
        )

    def _note(self, best: _Run, inputs: Sequence[Plug], outputs: Sequence[Plug]) -> None:
        """How the file was read, as far as a person would want to know."""
        for plug, layout in zip(inputs, best.layouts, strict=True):
            words = [] if plug.type.rank == 1 else [WORDS[layout]]
            words += [plug.port.dtype] if plug.port.dtype != "float32" else []
            if plug.port.shape and plug.port.shape[0]:
                words.append(f"a fixed batch of {plug.port.shape[0]}")
            if len(plug.layouts) > 1:
                others = " and ".join(WORDS[each] for each in plug.layouts if each != layout)
                words.append(f"its shape allows {others} too: all were tried, this one fits best")
            name = "" if plug.name == plug.port.name else f", the spec's {plug.name}"
            self.notes.append(f"input {plug.port.name}{name}: {', '.join(words) or 'as the spec has it'}")
        for plug in outputs:
            if plug.port.dtype != "float32":
                self.notes.append(f"output {plug.port.name}: {plug.port.dtype}")
        if best.trial.unit == HALF:
            self.notes.append("it computes in float16: it is granted what rounding to that may cost")
        elif any(plug.port.dtype == "float64" for plug in (*inputs, *outputs)):
            self.notes.append("its weights were rounded to float32, so it is granted what rounding to that may cost")
        if best.trial.pixels:
            self.notes.append("it reads pixels from 0 to 255")

    # Judging

    def _judge(self, trial: _Trial, plugs: Sequence[Plug], found: Mapping[str, tuple[Array, Comparison]]) -> None:
        self.names = trial.names or self.names
        verdicts = []
        for plug in plugs:
            _, compared = found[plug.name]
            stated = measure(compared, self.names)
            verdicts.append(OutputVerdict(output=plug.name, port=plug.port.name, measure=stated))
            if compared.symptom is not None:
                which = f"its output {plug.port.name}"
                message = f"{which}: {compared.message}"
                if compared.symptom == "value":
                    message = (
                        f"{which} has the error {compared.error:.1e} for input {self.names[compared.sample]!r}, "
                        f"granted {compared.granted:.1e}; {compared.message}"
                    )
                self._fail("compare", compared.symptom, message)
        self.outputs = tuple(verdicts)

    def _locate(
        self,
        worker: Worker,
        best: _Run,
        inputs: Sequence[Plug],
        ports: Mapping[str, str],
        origins: Mapping[str, StoredTensor],
    ) -> None:
        """Run it once more with its values on the way, and find the first row that differs.

        Outputs may hide what a row does, as a softmax that is certain does. Where they agree, a row is only blamed for
        a known mistake: otherwise its value may be another than it was taken for.
        """
        hidden = all(compared.symptom is None for _, compared in best.outputs.values())
        worst = max(best.outputs.values(), key=lambda each: each[1].ratio)[1].sample
        count = len(next(iter(best.given.values())))
        chosen = sorted({worst, *[place for place in range(count) if place != worst][: SHOWN - 1]})
        given = {name: each[chosen] for name, each in best.given.items()}
        try:
            traced = self._run(worker, inputs, given, trace=True)
        except _Stopped:
            failure = self.failures.pop()
            self.notes.append(f"its values on the way could not be read: {failure.message}")
            return
        trial = best.trial
        self.located = Search(
            network=trial.network,
            weights=trial.weights,
            inputs={name: each[chosen] for name, each in trial.inputs.items()},
            origins=origins,
            traced=traced,
            outputs={name: array[chosen] for name, (array, _) in best.outputs.items()},
            ports=ports,
            granted=trial.granted,
            draws=trial.draws,
            unit=trial.unit,
            first="first" in best.layouts,
        ).locate()
        self.names_looked = tuple(trial.names[place] for place in chosen)
        first, cause = self.located.first, self.located.cause
        if hidden and first is not None:
            if cause is None or not cause.known:
                right = {name: each for name, each in self.located.found.items() if each.compared.symptom is None}
                self.located = Located(right)
                return
            message = f"its value {first.value} has the error {first.compared.error:.1e}, granted "
            message += f"{first.compared.granted:.1e}; its outputs hide it"
            self._fail("compare", "value", message)
        if row := self.located.row:
            self.failures = [
                failure
                if failure.row is not None or failure.stage != "compare"
                else failure.model_copy(update={"row": row})
                for failure in self.failures
            ]

    names_looked: tuple[str, ...] = ()

    def _rows(self) -> Iterator[FoundRow]:
        """The rows whose result the file shows."""
        if self.located is None:
            return
        for row in self.network.rows:
            shown = [found for node in row.nodes if (found := self.located.found.get(node.name))]
            if not shown:
                continue
            wrong = [found for found in shown if found.compared.symptom is not None]
            found = wrong[0] if wrong else shown[-1]
            stated = measure(found.compared, self.names_looked)
            assert stated is not None
            whole = found.node.name == row.result
            yield FoundRow(row=row.name, whole=whole, value=found.value, passed=not wrong, measure=stated)


@dataclass
class _Trial:
    """A network with its weights and samples, and what the reference makes of them."""

    network: Network
    weights: Mapping[str, Array]
    inputs: Mapping[str, Array]
    unit: float
    draws: int
    names: tuple[str, ...] = ()
    pixels: bool = False

    def __post_init__(self) -> None:
        ends = set(self.network.outputs.values())
        nodes = by_node(self.network)
        values = {name: np.asarray(given, np.float64) for name, given in self.inputs.items() if name in ends}
        values |= {node.name: value for node, value in interpret(nodes, self.weights, self.inputs) if node.name in ends}
        own = {name: value for name, value in values.items() if name not in self.network.inputs}
        predicted = predict(nodes, self.weights, self.inputs, own, draws=self.draws, unit=self.unit)
        zero = np.zeros(len(next(iter(self.inputs.values()))))
        self.reference = {name: values[value] for name, value in self.network.outputs.items()}
        self.allowed = {
            name: self.granted(values[value], predicted.get(value, zero))
            for name, value in self.network.outputs.items()
        }

    def granted(self, values: Values, predicted: Values) -> Values:
        """The largest error of every sample, from the right values and what rounding is predicted to cost."""
        granted: Values = BUDGET_FACTOR * np.maximum(predicted, FLOOR_UNITS * self.unit * norms(values))
        return granted

    def compare(self, name: str, array: Array) -> Comparison:
        """An output, held against the reference."""
        return compare(self.reference[name], array, self.allowed[name])

    def closest(self, plug: Plug, array: Array) -> tuple[Array, Comparison]:
        """An output of the file in the layout in which it is nearest to the reference."""
        if array.shape[1:] and array.size == self.reference[plug.name].size:
            tried = [canonical(array, layout, plug.type) for layout in plug.layouts]
        else:
            tried = [array]
        return min(((each, self.compare(plug.name, each)) for each in tried), key=lambda each: each[1].ratio)


@dataclass(frozen=True)
class _Run:
    """A file that was run in one way."""

    trial: _Trial
    layouts: tuple[Layout, ...]
    given: Mapping[str, Array]
    outputs: Mapping[str, tuple[Array, Comparison]]

    @property
    def ratio(self) -> float:
        """How far the worst output is off."""
        return max(compared.ratio for _, compared in self.outputs.values())

    @property
    def agrees(self) -> bool:
        """Whether all outputs are right."""
        return all(compared.symptom is None for _, compared in self.outputs.values())

    @property
    def names(self) -> tuple[str, ...]:
        """What each sample is called."""
        return self.trial.names


def _same(given: Mapping[str, Array], found: Mapping[str, Array]) -> bool:
    return all(np.array_equal(array, found[name]) for name, array in given.items())


def _cast(batch: Array, dtype: str) -> Array:
    return batch.astype(dtype, copy=False)


def _pixels(network: Network, settings: VerifySettings) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Samples of whole numbers from 0 to 255, as images have them, as float32."""
    random = np.random.Generator(np.random.Philox(key=[settings.seed, 2]))
    made: dict[str, Callable[[tuple[int, ...]], Array]] = {
        **{
            f"pixels {number}": lambda shape: random.integers(0, 256, shape) for number in range(1, settings.inputs + 1)
        },
        "ramp": lambda shape: np.linspace(0, 255, int(np.prod(shape))).round().reshape(shape),
        "zeros": np.zeros,
        "constant": lambda shape: np.full(shape, 128),
        "white": lambda shape: np.full(shape, 255),
    }
    batches = {
        name: np.stack([draw(given.shape) for draw in made.values()]).astype(np.float32)
        for name, given in network.inputs.items()
    }
    return batches, tuple(made)


def _reason(error: SpecError, path: Path) -> str:
    """An error of reading a file, without the path that the verdict has anyway."""
    texts = []
    for problem in error.problems:
        text = problem.message.removeprefix(f"{path}: ").removeprefix("the weights cannot be read: ")
        texts.append(text.removeprefix(f"{path} "))
        if problem.hint:
            texts.append(f"hint: {problem.hint}")
    return "\n".join(texts)
