"""What verification found, as plain values: per backend and per row the counts, the errors and what was granted."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

Stage = Literal["compile", "render", "build", "run", "compare"]
Symptom = Literal["crash", "unsupported", "shape", "count", "value", "not finite", "file", "weights", "gradient"]
UNANSWERED: frozenset[Symptom] = frozenset({"crash", "unsupported"})
"""The symptoms of a backend that gave nothing to compare."""
UNREAD: frozenset[Symptom] = frozenset({"file", "weights"})
"""The symptoms of a file of others that was not run: it cannot be read, or its weights are not the rows'."""


class _Result(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


class Measure(_Result):
    """How far a value is from the reference, at the sample that fares worst."""

    error: float | None
    """Relative L2 error of that sample (absolute where the reference is zero); null when there is none to state."""
    granted: float
    """The largest error that is granted there: the gate in float64, the budget in float32."""
    ratio: float | None
    """The error over what is granted: 1 at most."""
    sample: str
    """The input: `normal 1`, `ramp`, `zeros`, ..."""


class Failure(_Result):
    """One thing that went wrong: at which stage, with which symptom, at which row when it is one row's."""

    stage: Stage
    """What was done when it went wrong."""
    symptom: Symptom
    """What is wrong: `crash` and `unsupported` gave nothing to compare."""
    message: str
    """The finding in words, with both values."""
    row: str | None = None
    """The row that it is about; null where it is none's."""


class Cause(_Result):
    """Why a row is wrong: what was done instead, found by computing that."""

    row: str
    """The row to blame."""
    name: str
    """The hypothesis, or the signature: `another epsilon`, `a constant factor`."""
    says: str
    """What was done instead, in a sentence."""
    spec: str
    """The formula that the spec means."""
    found: str
    """The formula that gives what was measured."""
    known: bool
    """Whether a known mistake gives the measured values; if not, the sentence says how they relate to right ones."""
    ratio: float | None
    """What is left of the error where that is computed, over what rounding may cost; null where it is not known."""
    fields: dict[str, str]
    """The row's fields that would mean it, as a spec writes them; empty where no spec can say it."""


class RowVerdict(_Result):
    """One row of one backend."""

    row: str
    """Its name."""
    kind: str
    """Its kind of layer."""
    passed: bool
    """Whether everything that was compared of it agrees."""
    trainable: int
    """How many of its numbers are trained."""
    non_trainable: int
    """How many of its numbers are not."""
    counted: tuple[int, int] | None
    """(trainable, non-trainable) numbers in the backend's own artefact; null where it was not asked."""
    float64: Measure | None
    """Its result in float64; null where the backend gave none."""
    float32: Measure | None
    """The same in float32."""


class ArtefactVerdict(_Result):
    """One exported file, loaded afresh by its stock library."""

    file: str
    """Its name; a level of ONNX Runtime's optimisation stands behind it."""
    passed: bool
    """Whether its outputs agree."""
    output: Measure | None
    """Its output for the network's own weights, in float32."""


class BackendVerdict(_Result):
    """One backend."""

    backend: str
    """Its name: `torch`, `keras`, `onnx`."""
    passed: bool
    """Whether everything agrees; then there are no failures."""
    rows: tuple[RowVerdict, ...]
    """Every row, in the network's order."""
    artefacts: tuple[ArtefactVerdict, ...]
    """Every exported file that could be run."""
    failures: tuple[Failure, ...]
    """What went wrong."""
    first_row: str | None = None
    """The first row that diverges."""
    alone: bool | None = None
    """Whether that row diverges even when given the reference's own input; if not, it carries on earlier errors."""
    cause: Cause | None = None
    """What that row does instead, where it diverges by itself and it could be found out."""

    @property
    def differs(self) -> bool:
        """Whether something was compared and found to be wrong."""
        return any(failure.symptom not in UNANSWERED for failure in self.failures)

    @property
    def unproven(self) -> bool:
        """Whether it failed without differing: it crashed, or has no rule, before everything could be compared."""
        return not self.passed and not self.differs


class OutputVerdict(_Result):
    """One output of a file that others made."""

    output: str
    """The network's name of it."""
    port: str
    """The file's name of it."""
    measure: Measure | None
    """How far it is from the reference; null where the shapes differ."""


class FoundRow(_Result):
    """A row whose value was found in the file.

    Behind a row to blame it is held against what the reference makes of the value that the file has there.
    """

    row: str
    """Its name."""
    whole: bool
    """Whether it is the row's result, or what the row has before its activation."""
    value: str
    """What the file calls it."""
    passed: bool
    """Whether it is what it should be."""
    measure: Measure
    """How far it is from what it should be."""


class Blamed(_Result):
    """A row that is wrong even for what the file computed before it, where others are wrong before it."""

    row: str
    """Its name."""
    cause: Cause | None
    """What is done instead, where it could be found out."""


class FileVerdict(_Result):
    """One file that others made, held against the meaning of the spec."""

    file: str
    """The file, as it was given."""
    runtime: str | None
    """Who ran it, with its version; null where it could not be run."""
    passed: bool
    """Whether it is proven to compute what the spec means."""
    weights: str | None
    """Whose weights the reference computed with, and how they were matched; null where there are none."""
    samples: tuple[str, ...]
    """What the inputs that it was given are called."""
    outputs: tuple[OutputVerdict, ...]
    """Every output of the network."""
    rows: tuple[FoundRow, ...]
    """The rows whose values the file shows, in the network's order; they are looked for where an output differs."""
    notes: tuple[str, ...]
    """How the file was read: names, layouts, types."""
    failures: tuple[Failure, ...]
    """What went wrong."""
    first_row: str | None = None
    """The row to blame, as far as that can be seen."""
    alone: bool | None = None
    """Whether what was found there is wrong even for what the file itself computed before it."""
    cause: Cause | None = None
    """What is done instead, where it could be found out."""
    further: tuple[Blamed, ...] = ()
    """The other rows to blame, in the network's order."""

    @property
    def differs(self) -> bool:
        """Whether something was found to be wrong, other than that it did not run."""
        return any(failure.symptom not in (*UNANSWERED, *UNREAD) for failure in self.failures)


class AgainstVerdict(_Result):
    """Files that others made, each held against the meaning of one spec."""

    network: str
    """The spec's name."""
    passed: bool
    """Whether every file is proven."""
    files: tuple[FileVerdict, ...]
    """In the order in which they were given."""

    @property
    def differs(self) -> bool:
        """Whether a file was found to be something else."""
        return any(file.differs for file in self.files)


Quantity = Literal["loss", "gradient", "statistic", "slot", "weight"]
"""What an update of a training gives."""


class Difference(_Result):
    """One array of an update that is further from another than is granted."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    step: int
    """The update, counted from 1."""
    precision: Literal["float64", "float32"]
    """In which it was computed."""
    quantity: Quantity
    """What it is a value of."""
    name: str
    """The weight, for a slot with its name: `conv_1.kernel, mean`."""
    left: str
    """Whose it is: a backend."""
    right: str
    """What it is held against: another backend, `reference`, or `float64`."""
    place: tuple[int, ...]
    """Where they are furthest apart, in the canonical layout."""
    left_value: float
    """The value there, on the left."""
    right_value: float
    """The value there, on the right."""
    error: float
    """The L2 norm of the difference, relative to that of the right side."""
    granted: float
    """The largest error that is granted."""


class LockstepVerdict(_Result):
    """The same updates of a training, taken by every backend."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    passed: bool
    """Whether all updates agree."""
    steps: int
    """How many updates were to be taken."""
    agreed: int
    """After how many of them everything agreed."""
    backends: tuple[str, ...]
    """Those that train."""
    loss: str
    """The loss, by its name."""
    optimizer: str
    """The optimiser, by its name."""
    schedule: str
    """The schedule of the learning rate, by its name."""
    float64: dict[Quantity, float]
    """The largest error of each kind, as a share of what is granted."""
    float32: dict[Quantity, float]
    """The same of single updates in float32, each from the float64 state."""
    synchronised: tuple[str, ...]
    """Weights whose gradients are zero but for rounding, which every backend took over from the first."""
    differences: tuple[Difference, ...]
    """What differs after the first update where something does."""
    failures: tuple[Failure, ...]
    """What went wrong, other than that values differ."""

    @property
    def differs(self) -> bool:
        """Whether something was compared and found to be wrong."""
        return bool(self.differences)


class Share(_Result):
    """How far a gradient is off, relative to its size, and how far it may be."""

    model_config = ConfigDict(ser_json_inf_nan="strings")

    error: float
    """The L2 distance."""
    granted: float
    """The largest distance that is granted."""
    ratio: float | None
    """The error over what is granted: 1 at most; null where rounding or a kink hides what the reference's slope is."""

    @property
    def exceeds(self) -> bool:
        """Whether it is further off than is granted; where nothing can be said it is not."""
        return self.ratio is not None and not self.ratio <= 1


class GradientVerdict(_Result):
    """The gradient of one weight, or of one input, in every backend that derives."""

    name: str
    """The weight (`conv_1.kernel`) or the input."""
    row: str
    """The row that has the weight, or reads the input first."""
    mode: Literal["evaluation", "training"]
    """As the network is evaluated, or with the batch's statistics and dropout masks."""
    apart: dict[str, Share]
    """By backend but the first: the L2 distance to the first one's gradient."""
    slopes: dict[str, Share]
    """By backend: how far the slope along a random direction is from that of the reference."""


class GradientsVerdict(_Result):
    """What the backends derive of sum(outputs * cotangents), in float64."""

    backends: tuple[str, ...]
    """Those that derive."""
    samples: int
    """For how many samples was derived."""
    slopes: int
    """Along how many directions the reference's slope was taken; where they are fewer than weights and inputs, some of
    those were moved together."""
    weights: tuple[GradientVerdict, ...]
    """Every trained weight and input, in every mode."""
    notes: tuple[str, ...]
    """What was left out, and why."""

    @property
    def unclear(self) -> tuple[str, ...]:
        """The weights and inputs of which the reference's slope says nothing."""
        found = (each.name for each in self.weights if any(share.ratio is None for share in each.slopes.values()))
        return tuple(dict.fromkeys(found))

    def worst(self, kind: Literal["apart", "slopes"]) -> Share | None:
        """The share that is nearest to what is granted, or over it."""
        shares = [share for each in self.weights for share in getattr(each, kind).values() if share.ratio is not None]
        return max(shares, key=lambda share: share.ratio or 0.0, default=None)


class Verdict(_Result):
    """The whole verification."""

    network: str
    """The spec's name."""
    passed: bool
    """Whether every backend is proven to compute what the spec means."""
    parameters: int
    """How many numbers the network has."""
    trainable: int
    """How many of them are trained."""
    non_trainable: int
    """How many of them are not."""
    samples: tuple[str, ...]
    """What the inputs are called."""
    backends: tuple[BackendVerdict, ...]
    """In the order of `--targets`."""
    gradients: GradientsVerdict | None = None
    """What the backends that train derive; null where none of them could."""
    lockstep: LockstepVerdict | None = None
    """The training in lock-step; null when it was not asked for."""

    @property
    def differs(self) -> bool:
        """Whether a backend was found to compute something else."""
        return any(backend.differs for backend in self.backends) or (
            self.lockstep is not None and self.lockstep.differs
        )

    @property
    def unproven(self) -> bool:
        """Whether it failed for no other reason than that a backend did not answer."""
        return not self.passed and not self.differs

    def trained(self, lockstep: LockstepVerdict) -> Self:
        """The verdict, with what the training in lock-step found."""
        return self.model_copy(update={"lockstep": lockstep, "passed": self.passed and lockstep.passed})

    def to_json(self) -> str:
        """The verdict as a JSON document."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The verdict that `to_json` wrote."""
        return cls.model_validate_json(text)

    def summary(self) -> tuple[str, ...]:
        """One line a backend: that it agrees, or its first failure."""
        lines = tuple(_summary(backend, len(self.samples)) for backend in self.backends)
        return lines if self.lockstep is None else (*lines, lockstep_summary(self.lockstep))


def _summary(verdict: BackendVerdict, samples: int) -> str:
    if verdict.passed:
        ratios = [row.float32.ratio for row in verdict.rows if row.float32 and row.float32.ratio is not None]
        most = f", at most {max(ratios):.0%} of what rounding may cost" if ratios else ""
        return f"{verdict.backend}: {len(verdict.rows)} rows agree on {samples} samples{most}"
    first = next((found for found in verdict.failures if found.row == verdict.first_row), verdict.failures[0])
    place = f" at row {first.row!r}" if first.row else ""
    return f"{verdict.backend}: {first.symptom}{place} ({first.stage}): {first.message}"


def lockstep_summary(found: LockstepVerdict) -> str:
    """One line: how far the backends went together, or what differs first."""
    how = f"{found.optimizer}, {found.schedule}"
    if found.passed:
        double, single = (max(shares.values(), default=0.0) for shares in (found.float64, found.float32))
        shares = f"{double:.0%} in float64, {single:.0%} in float32"
        return f"training: {found.steps} updates in lock-step ({how}), at most {shares} of what is granted"
    if found.differences:
        return f"training ({how}): {difference_text(found.differences[0])}"
    return f"training ({how}): {found.failures[0].symptom}: {found.failures[0].message}"


def difference_text(found: Difference) -> str:
    """A difference in a sentence, with both values."""
    at = f" at [{', '.join(map(str, found.place))}]" if found.place else ""
    return (
        f"after update {found.step} in {found.precision} the {found.quantity} {found.name}{at} is "
        f"{found.left_value:.12g} in {found.left}, {found.right_value:.12g} in {found.right} "
        f"(error {found.error:.1e}, granted {found.granted:.1e})"
    )
