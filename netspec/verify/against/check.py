"""One file after the other: whether its runtime takes it, its weights are the rows', and it computes what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from netspec.backend import importers, openers
from netspec.backend.foreign import Described, Port
from netspec.backend.worker import Worker
from netspec.errors import VerificationError
from netspec.importing import check_file
from netspec.network import Network
from netspec.reference.table import Array
from netspec.verify.against.judging import Culprit
from netspec.verify.against.located import Located, Search
from netspec.verify.against.ports import FLOATS, INTEGERS, WORDS, Plug, PortError, paired_note, pairings
from netspec.verify.against.request import OTHER, Request, Stopped
from netspec.verify.against.session import Run, Session
from netspec.verify.against.shown import Shown
from netspec.verify.against.trials import HALF, Answer, Trial, trials
from netspec.verify.against.weights import FLATTENED, Known, known_weights
from netspec.verify.gates import UNIT
from netspec.verify.inputs import finite_problem
from netspec.verify.judge import measure
from netspec.verify.result import (
    AgainstVerdict,
    Failure,
    FileVerdict,
    FoundRow,
    OutputVerdict,
)
from netspec.verify.samples import choose_samples

SHOWN = 3
"""How many samples are looked into where an output differs."""


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


@dataclass
class _Check:
    """One file, and what was found out about it so far."""

    network: Network
    path: Path
    request: Request
    notes: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    outputs: tuple[OutputVerdict, ...] = ()
    names: tuple[str, ...] = ()
    """What the samples are called."""
    looked_into: tuple[str, ...] = ()
    """Those whose values on the way were read."""
    runtime: str | None = None
    weights: str | None = None
    located: Located = field(default_factory=Located)

    def verdict(self) -> FileVerdict:
        """Everything that is found out; an error ends it where it is."""
        try:
            self._ask()
        except Stopped as stopped:
            self.failures.append(stopped.failure)
        first, *others = [*self.located.blamed(), None]
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
            first_row=first.row if first else None,
            alone=self.located.culprits[0].alone if first else None,
            cause=first.cause if first else None,
            further=tuple(each for each in others if each is not None),
        )

    def _ask(self) -> None:
        """First whether its runtime takes it, then its weights, then its values."""
        able = {suffix: (place, backend) for place, backend in openers().items() for suffix in backend.opens}
        place, backend = able.get(self.path.suffix, ("", None))
        if backend is None:
            self._compare_weights_alone(self._known())
            return
        if find_spec(module := backend.opens[self.path.suffix]) is None:
            raise Stopped("build", "unsupported", f"running it needs {module}, which is not installed")
        with Worker(place) as worker:
            session = Session(worker, self.path, self.request.limit_s)
            described = session.describe()
            known = self._known()
            if described is not None:
                self._compare_model(session, described, known)
                return
        self._compare_weights_alone(known)

    def _known(self) -> Known:
        found = known_weights(self.path, self.network, self.request)
        self.weights = found.said
        self.notes += found.notes
        self.failures += found.failures
        return found

    def _compare_weights_alone(self, known: Known) -> None:
        """A file of weights has no model: it runs in the emitted one."""
        [(place, backend)] = [each for each in importers().items() if self.path.suffix in each[1].suffixes]
        self.notes.append(
            f"it holds weights and no model, so it was run in the module that netspec emits for {backend.name}: "
            "strides, paddings and activations are the spec's"
        )
        samples = choose_samples(self.network, self.request.settings)
        with Worker(place) as worker:
            session = Session(worker, self.path, self.request.limit_s)
            found = session.ask("run", "predict", network=self.network, weights=known.weights, inputs=samples.inputs)
        self.runtime = f"the emitted {backend.name} module"
        trial = Trial(self.network, known.weights, samples.inputs, UNIT, samples.draws, samples.names)
        self._judge(
            trial,
            [
                trial.closest(Plug(name, self.network.types[value], Port(name, (), "float32"), ("last",)), found[name])
                for name, value in self.network.outputs.items()
            ],
        )

    def _compare_model(self, session: Session, described: Described, known: Known) -> None:
        self.runtime = described.runtime
        types = {name: self.network.types[value] for name, value in self.network.outputs.items()}
        try:
            inputs = pairings(self.network.inputs, described.inputs, "input")
            outputs = pairings(types, described.outputs, "output")
        except PortError as error:
            raise Stopped("build", "shape", str(error)) from None
        for port in (each.port for pairing in (*inputs, *outputs) for each in pairing):
            if port.dtype not in (*FLOATS, *INTEGERS):
                raise Stopped("build", "unsupported", f"its {port} is of a type that numpy does not have")

        def best(weights: Mapping[str, Array]) -> Run:
            return session.best(trials(self.network, weights, self.request, described), inputs, outputs)

        run = best(known.weights)
        if not run.agrees and (turned := known.other()) is not None and (again := best(turned)).agrees:
            whose = "the weights" if self.request.weights is None else self.request.given
            if self.request.flattened is not None:
                order = FLATTENED[OTHER[self.request.flattened]]
                self.notes.append(f"with images flattened {order} before {whose} it would agree")
            else:
                run = again
                kept = [note for note in self.notes if note not in known.notes]
                self.notes = [*known.turned_notes(whose), *kept]
        given = tuple(answer.plug for answer in run.answers)
        said = paired_note(run.inputs, inputs, described.inputs, "input")
        also = paired_note(given, outputs, described.outputs, "output")
        self.notes += [note for note in (said, also) if note]
        self._note(run, given)
        self._judge(run.trial, run.answers)
        self._locate(session, run, known)

    def _note(self, run: Run, outputs: Sequence[Plug]) -> None:
        """How the file was read, as far as a person would want to know."""
        for plug, layout in zip(run.inputs, run.layouts, strict=True):
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
        if run.trial.unit == HALF:
            self.notes.append("it computes in float16: it is granted what rounding to that may cost")
        elif any(plug.port.dtype == "float64" for plug in (*run.inputs, *outputs)):
            self.notes.append("its weights were rounded to float32, so it is granted what rounding to that may cost")
        if run.trial.pixels:
            self.notes.append("it reads pixels from 0 to 255")

    # Judging

    def _judge(self, trial: Trial, answers: Sequence[Answer]) -> None:
        self.names = trial.names
        verdicts = []
        for answer in answers:
            name, port, compared = answer.plug.name, answer.plug.port.name, answer.compared
            verdicts.append(OutputVerdict(output=name, port=port, measure=measure(compared, self.names)))
            if compared.symptom is not None:
                which = f"its output {port}"
                message = f"{which}: {compared.message}"
                if compared.symptom == "value":
                    message = (
                        f"{which} has the error {compared.error:.1e} for input {self.names[compared.sample]!r}, "
                        f"granted {compared.granted:.1e}; {compared.message}"
                    )
                self.failures.append(Failure(stage="compare", symptom=compared.symptom, message=message))
        self.outputs = tuple(verdicts)

    def _locate(self, session: Session, run: Run, known: Known) -> None:
        """Run it once more with its values on the way, and find the rows that are to blame.

        Outputs may hide what a row does, as a softmax that is certain does. Where they agree, a row is only blamed for
        a known mistake: otherwise its value may be another than it was taken for.
        """
        count = len(next(iter(run.given.values())))
        chosen = sorted({run.worst, *[place for place in range(count) if place != run.worst][: SHOWN - 1]})
        given = {name: each[chosen] for name, each in run.given.items()}
        try:
            traced = session.run(run.inputs, given, trace=True)
        except Stopped as stopped:
            self.notes.append(f"its values on the way could not be read: {stopped.failure.message}")
            return
        trial, ports = run.trial, {each.plug.name: each.plug.port.name for each in run.answers}
        # What the file gives by its optimised model may be rounded otherwise than by the one that shows its values.
        given_out = {name: traced.values.get(port, traced.outputs[port]) for name, port in ports.items()}
        self.looked_into = tuple(trial.names[place] for place in chosen)
        self.located = Search(
            network=trial.network,
            weights=trial.weights,
            inputs={name: each[chosen] for name, each in trial.inputs.items()},
            shown=Shown(
                network=trial.network,
                origins=known.origins,
                traced=traced,
                outputs={each.plug.name: each.canonical(given_out[each.plug.name]) for each in run.answers},
                ports=ports,
                first="first" in run.layouts,
                count=len(chosen),
            ),
            granted=trial.granted,
            draws=trial.draws,
            unit=trial.unit,
        ).locate()
        self.notes += [self.located.note] if self.located.note else []
        if run.agrees:
            self.located = self.located.certain()
            self.failures += map(_hidden, self.located.culprits)
        elif self.located.culprits:
            row = self.located.culprits[0].row
            self.failures = [
                failure
                if failure.row is not None or failure.stage != "compare"
                else failure.model_copy(update={"row": row})
                for failure in self.failures
            ]
        else:
            self.notes.append(f"by the model whose values {self.runtime} shows, without its optimisations, it agrees")

    def _rows(self) -> Iterator[FoundRow]:
        """The rows whose result the file shows."""
        for row in self.network.rows:
            shown = [found for node in row.nodes if (found := self.located.found.get(node.name))]
            if not shown:
                continue
            wrong = [found for found in shown if found.compared.symptom is not None]
            found = wrong[0] if wrong else shown[-1]
            stated = measure(found.compared, self.looked_into)
            assert stated is not None
            whole = found.node.name == row.result
            yield FoundRow(row=row.name, whole=whole, value=found.value, passed=not wrong, measure=stated)


def _hidden(culprit: Culprit) -> Failure:
    """What is wrong at a row where the outputs agree."""
    compared = culprit.found.compared
    message = f"its value {culprit.found.value} has the error {compared.error:.1e}, granted {compared.granted:.1e}"
    return Failure(stage="compare", symptom="value", message=f"{message}; its outputs hide it", row=culprit.row)
