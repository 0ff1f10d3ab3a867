"""Reports: golden texts whose columns also add up, the JSON's exact keys, progress where there is no terminal."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar, get_args

import pytest

from netspec.compile import compile_spec
from netspec.errors import Position, Problem
from netspec.inference.evaluation import ClassShare, Evaluation
from netspec.network import Network
from netspec.outcome import Best, Outcome
from netspec.report.columns import aligned, duration, table
from netspec.report.doctor import doctor_text
from netspec.report.origin import origin_text
from netspec.report.outcome import outcome_text
from netspec.report.page import Trained, report_page
from netspec.report.page_verdict import verdict_section
from netspec.report.problems import problems_text, wants_colour
from netspec.report.progress import build_progress, epoch_text
from netspec.report.verdict import ADVICE, verify_text
from netspec.spec.load import load_spec
from netspec.training.settings import TrainSettings
from netspec.verify.result import (
    ArtefactVerdict,
    BackendVerdict,
    Difference,
    Failure,
    LockstepVerdict,
    Measure,
    RowVerdict,
    Symptom,
    Verdict,
)

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


def network(name: str) -> Network:
    return compile_spec(load_spec(ROOT / "specs" / f"{name}.yaml"))


# Columns


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(["a", "n"], [["long", "7"], ["b", "1,000"]], right=[1]) == [
        "a         n",
        "-----------",
        "long      7",
        "b     1,000",
    ]
    assert aligned([["a", ""], ["b", ""]]) == ["a", "b"]


def test_rows_of_different_lengths_are_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        aligned([["a", "b"], ["c"]])


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (9.94, "9.9 s"), (59.6, "1:00"), (61, "1:01"), (3600, "1:00:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# Problems

PROBLEMS = [
    Problem("kernel 9x9 is larger than its input 8x8x1", "padding=same", "layers.conv_1", Position("x.yaml", 4, 11)),
    Problem("epochs must be at least 1, got 0", path="train.epochs"),
]


def test_problems_are_listed_and_counted() -> None:
    assert problems_text(PROBLEMS) == (
        "x.yaml:4:11: layers.conv_1: kernel 9x9 is larger than its input 8x8x1\n"
        "  hint: padding=same\n"
        "train.epochs: epochs must be at least 1, got 0\n"
        "2 problems"
    )
    assert problems_text(PROBLEMS[1:]).endswith("\n1 problem")


def test_colour_changes_no_word() -> None:
    coloured = problems_text(PROBLEMS, colour=True)
    assert coloured != problems_text(PROBLEMS)
    assert re.sub(r"\x1b\[\d+m", "", coloured) == problems_text(PROBLEMS)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())


# Progress


def events() -> list[tuple[str, dict[str, object]]]:
    epoch = {"epoch": 1, "epochs": 2, "seconds": 0.5, "loss": 0.5, "val_accuracy": 0.25}
    return [
        ("stage", {"stage": "weights"}),
        ("step", {"step": 1, "total": 2}),
        ("epoch", epoch),
        ("unheard of", {"value": 1}),
        ("done", {"stage": "weights"}),
        ("current", {"stage": "export torch"}),
    ]


def test_progress_without_a_terminal_is_plain_lines() -> None:
    stream = io.StringIO()
    with build_progress("tiny", stream) as progress:
        for event, values in events():
            progress(event, **values)
    first, second, third = stream.getvalue().splitlines()
    assert first == "tiny: epoch 1/2  0.5 s  0.5 s left  loss 0.5000  val_accuracy 0.2500"
    assert re.fullmatch(r"tiny: weights done in \d+\.\d s", second)
    assert third == "tiny: export torch is up to date"


def test_a_log_tells_that_a_long_epoch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("netspec.report.progress.time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    with build_progress("tiny", stream) as progress:
        progress("training", images=54_000, steps=211, where="torch on cpu")
        for step in range(212, 300):
            clock[0] += 1
            progress("step", epoch=2, epochs=40, step=step, total=40 * 211)
    assert stream.getvalue().splitlines() == [
        "tiny: training on 54,000 images, 211 steps an epoch, torch on cpu",
        "tiny: training, epoch 2 of 40, step 30 of 211, 3% done",
        "tiny: training, epoch 2 of 40, step 60 of 211, 3% done",
    ]


class Unread(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_progress_that_nobody_reads_stops_nothing() -> None:
    with build_progress("tiny", Unread()) as progress:
        for event, values in events():
            progress(event, **values)


def test_progress_on_a_terminal_keeps_the_same_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with build_progress("tiny [bold]", stream) as progress:
        for event, values in events():
            progress(event, **values)
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", stream.getvalue())
    assert "tiny [bold]: epoch 1/2  0.5 s  0.5 s left" in plain
    assert "tiny [bold]: export torch is up to date" in plain


def test_epoch_without_its_total() -> None:
    assert epoch_text({"epoch": 3, "loss": 0.25}, usual_s=1.0) == "epoch 3  loss 0.2500"


# Doctor


def test_doctor_names_what_is_missing_and_what_to_do() -> None:
    found = {
        "netspec": "0.1.0",
        "python": "3.11.4",
        "platform": "Linux",
        "backends": {
            "keras": {"installed": False, "versions": {}, "devices": [], "problem": "needs keras\n  hint: pip install"},
            "torch": {
                "installed": True,
                "versions": {"torch": "2.13.0"},
                "devices": ["cuda:0", "cpu"],
                "problem": None,
            },
        },
    }
    assert doctor_text(found).splitlines() == [
        "netspec   0.1.0",
        "Python    3.11.4",
        "platform  Linux",
        "",
        "keras: missing",
        "  needs keras",
        "  hint: pip install",
        "",
        "torch: ready",
        "  torch    2.13.0",
        "  devices  cuda:0, cpu",
    ]


# The verdict and the page


def measure(error: float | None, granted: float, sample: str = "ramp") -> Measure:
    return Measure(error=error, granted=granted, ratio=None if error is None else error / granted, sample=sample)


def verdict_of(net: Network, wrong: dict[str, str] | None = None, lost: str = "", miscounted: str = "") -> Verdict:
    """A verdict made by hand: on the backends in `wrong`, the rows from the one named there on have wrong values."""
    wrong, backends = wrong or {}, []
    for name in ("torch", "keras", "onnx"):
        rows, failures, broken = [], [], False
        for row in net.rows:
            broken = broken or row.name == wrong.get(name)
            error = None if row.name == lost and broken else 0.03 if broken else 2.5e-16
            off = row.name == miscounted and name in wrong
            rows.append(
                RowVerdict(
                    row=row.name,
                    kind=row.kind,
                    passed=not broken and not off,
                    trainable=row.trainable,
                    non_trainable=row.non_trainable,
                    counted=(row.trainable + off, row.non_trainable),
                    float64=measure(error, 1e-12),
                    float32=measure(error and (0.03 if broken else 3.4e-7), 1e-6),
                )
            )
            if broken:
                message = f"the reference of {row.name} is <b>4</b>\nat [0]"
                failures.append(Failure(stage="compare", symptom="value", message=message, row=row.name))
        file = ArtefactVerdict(file="<net>.bin", passed=not broken, output=rows[-1].float32)
        backends.append(
            BackendVerdict(
                backend=name,
                passed=not failures,
                rows=tuple(rows),
                artefacts=(file,),
                failures=tuple(failures),
                first_row=wrong.get(name),
                alone=True if name in wrong else None,
            )
        )
    return Verdict(
        network=net.name,
        passed=all(backend.passed for backend in backends),
        parameters=net.parameters,
        trainable=net.trainable,
        non_trainable=net.non_trainable,
        samples=("normal 1", "ramp", "<zeros>"),
        backends=tuple(backends),
    )


@pytest.mark.parametrize(("name", "wrong"), [("verify-passed", {}), ("verify-failed", {"keras": "conv_2"})])
def test_verdict_is_the_golden_one(name: str, wrong: dict[str, str]) -> None:
    text = verify_text(verdict_of(network("fashion-mnist-cnn"), wrong))
    assert text + "\n" == (GOLDEN / f"{name}.txt").read_text()


def test_verdict_comes_first_and_what_to_do_last() -> None:
    lines = verify_text(verdict_of(network("fashion-mnist-cnn"), {"keras": "conv_2", "onnx": "dense_1"})).splitlines()
    assert lines[0] == "fashion-mnist-cnn: NOT EQUAL. keras and onnx differ; torch computes the spec"
    assert lines[-1].startswith("  hint: ")
    assert "keras differs, first at row 'conv_2'" in lines
    assert "onnx differs, first at row 'dense_1'" in lines


def test_a_backend_without_rows_still_says_what_failed() -> None:
    crash = Failure(stage="build", symptom="crash", message="the keras worker was killed by SIGKILL")
    dead = BackendVerdict(backend="keras", passed=False, rows=(), artefacts=(), failures=(crash,))
    whole = verdict_of(network("fashion-mnist-cnn"))
    for backends in ((dead,), (*whole.backends, dead)):
        text = verify_text(whole.model_copy(update={"passed": False, "backends": backends}))
        assert "crash (build): the keras worker was killed by SIGKILL" in text
        assert "keras differs" not in text
        assert "keras did not answer" in text
        assert text.splitlines()[-1].startswith("  hint: the message above says how it ended")
        for advice in ("memory", "run again", "`netspec doctor`"):
            assert advice in text.splitlines()[-1]


def silence(verdict: Verdict, *names: str) -> Verdict:
    """The verdict had the workers of these backends died."""
    crash = Failure(stage="run", symptom="crash", message="the worker was killed by SIGKILL")
    backends = (
        BackendVerdict(backend=each.backend, passed=False, rows=(), artefacts=(), failures=(crash,))
        if each.backend in names
        else each
        for each in verdict.backends
    )
    return verdict.model_copy(update={"passed": False, "backends": tuple(backends)})


@pytest.mark.parametrize(
    ("wrong", "silent", "headline"),
    [
        ((), ("torch",), "NOT PROVEN. torch did not answer; keras and onnx compute the spec"),
        ((), ("torch", "keras", "onnx"), "NOT PROVEN. torch, keras and onnx did not answer; nothing is proven"),
        (("keras",), ("torch",), "NOT EQUAL. keras differs; torch did not answer; onnx computes the spec"),
        (
            ("keras", "onnx"),
            ("torch",),
            "NOT EQUAL. keras and onnx differ; torch did not answer; none computes the spec",
        ),
    ],
)
def test_a_backend_that_did_not_answer_does_not_differ(
    wrong: tuple[str, ...], silent: tuple[str, ...], headline: str
) -> None:
    net = network("fashion-mnist-cnn")
    verdict = silence(verdict_of(net, dict.fromkeys(wrong, "conv_2")), *silent)
    assert verify_text(verdict).splitlines()[0] == f"fashion-mnist-cnn: {headline}"
    page = read_page(report_page(net, verdict, {}, {}))
    assert headline in page.text
    assert ("differs" in page.text) == bool(wrong)
    assert (verdict.differs, verdict.unproven) == (bool(wrong), not wrong)
    for backend in verdict.backends:
        assert (backend.differs, backend.unproven) == (backend.backend in wrong, backend.backend in silent)


def test_an_equal_verdict_is_neither() -> None:
    verdict = verdict_of(network("fashion-mnist-cnn"))
    assert (verdict.passed, verdict.differs, verdict.unproven) == (True, False, False)


def test_every_symptom_has_advice() -> None:
    assert set(ADVICE) == set(get_args(Symptom))


def test_lost_values_and_wrong_counts_are_marked() -> None:
    net = network("fashion-mnist-cnn")
    text = verify_text(verdict_of(net, {"keras": "dense_2"}, lost="dense_2", miscounted="conv_1"))
    conv, dense = (
        next(line.split()[:7] for line in text.splitlines() if line.startswith(row)) for row in ("conv_1", "dense_2")
    )
    assert conv == ["conv_1", "2.5e-16", "34%", "count!", "34%", "2.5e-16", "34%"]
    assert dense == ["dense_2", "2.5e-16", "34%", "lost!", "lost!", "2.5e-16", "34%"]


class Page(HTMLParser):
    """Reads a page strictly: every element that opens closes in order; keeps texts, images and links to elsewhere."""

    VOID: ClassVar[set[str]] = {"meta", "img", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.widths: list[float] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                self.links.append(value or "")
            if name == "style":
                self.widths.append(float(re.fullmatch(r"width:([\d.]+)%", value or "")[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "


def read_page(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def judged(data: str) -> Evaluation:
    classes = (ClassShare("a", 1.0, 0.5, 2 / 3, 2), ClassShare("b", 2 / 3, 1.0, 0.8, 2))
    return Evaluation(data, "test", {"loss": 0.5, "accuracy": 0.75}, classes, ((1, 1), (0, 2)))


def test_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    plot, confusion = tmp_path / "history.png", tmp_path / "confusion.png"
    plot.write_bytes(b"\x89PNG not really")
    confusion.write_bytes(b"\x89PNG neither")
    net = network("fashion-mnist-cnn")
    trained = Trained(None, judged("toys"), plot, confusion)
    text = report_page(net, verdict_of(net), {"torch": "2.13.0"}, {"torch/a.py": "ab" * 32}, trained)
    page = read_page(text)
    wanted = (base64.b64encode(path.read_bytes()).decode() for path in (plot, confusion))
    assert page.links == [f"data:image/png;base64,{each}" for each in wanted]
    assert "script" not in page.seen
    assert "url(" not in text
    shown = ("EQUAL", "21,840", "75.00%", "On 4 test images of toys", "ab" * 32, "spatial_dropout_1", "480,500")
    for said in (*shown, "torch/a.py", "2.13.0"):
        assert said in page.text
    assert len([width for width in page.widths if width == 34.0]) == 3 * (len(net.rows) + 1)


def test_page_shows_no_share_where_there_was_nothing_to_divide_by() -> None:
    net, means = network("fashion-mnist-cnn"), "-: nothing to divide by, which counts as 0 in means"
    never = ClassShare("b", 0.0, 0.0, 0.0, 1)
    found = replace(judged("toys"), classes=(ClassShare("a", 0.5, 1.0, 2 / 3, 1), never), confusion=((1, 0), (1, 0)))
    text = report_page(net, verdict_of(net), {}, {}, Trained(evaluation=found))
    assert means in text
    assert (text.count(">0.00%<"), text.count(">-<")) == (2, 1)
    whole = report_page(net, verdict_of(net), {}, {}, Trained(evaluation=judged("toys")))
    assert means not in whole


def test_page_escapes_what_it_is_given() -> None:
    hostile = '<script>alert("x")</script>'
    net = replace(network("fashion-mnist-cnn"), name=hostile, about=hostile)
    verdict = verdict_of(net, {"keras": "conv_2"})
    found = replace(judged(hostile), split=hostile, metrics={hostile: 1.0})
    found = replace(found, classes=tuple(replace(each, name=hostile) for each in found.classes))
    text = report_page(net, verdict, {hostile: hostile}, {hostile: hostile}, Trained(evaluation=found))
    page = read_page(text)
    assert "script" not in page.seen
    assert page.text.count(hostile) >= 6
    assert "the reference of conv_2 is <b>4</b>" in page.text
    assert "keras/<net>.bin" in page.text


def test_page_shows_a_failure_and_its_bars_are_full() -> None:
    net = network("fashion-mnist-cnn")
    text = report_page(net, verdict_of(net, {"keras": "conv_2"}, lost="dense_2"), {}, {})
    assert 'class="verdict failed"' in text
    assert text.count('class="bar over"') == 7 + 1  # the rows from conv_2 on, and the exported file
    assert set(read_page(text).widths) == {34.0, 100.0}
    assert 'class="verdict failed"' not in report_page(net, verdict_of(net), {}, {})


def test_page_shows_wrong_counts_beside_the_right_ones() -> None:
    net = network("fashion-mnist-cnn")
    page = read_page(report_page(net, verdict_of(net, {"keras": "dense_2"}, miscounted="conv_1"), {}, {}))
    assert "261 + 0 weights instead of 260 + 0" in page.text


def test_outcome_says_the_verdict_the_score_and_the_place() -> None:
    verdict = verdict_of(network("fashion-mnist-cnn"))
    outcome = Outcome(Path("build/x"), verdict, ran=["weights", "verify"], evaluation=judged("toys"))
    text = outcome_text(outcome)
    assert text.startswith("fashion-mnist-cnn: EQUAL. torch, keras and onnx compute the spec")
    assert "On 4 test images of toys\n  loss      0.5000\n  accuracy  75.00%\n\nclass  precision" in text
    assert "as a picture in build/x/confusion.png" in text
    current = outcome_text(Outcome(Path("build/x"), verdict, ran=["verify"], evaluation=judged("toys")))
    assert "On 4 test images of toys: loss 0.5000, accuracy 75.00%" in current
    assert text.endswith("build/x/report.html: ran weights, verify")
    assert outcome_text(Outcome(Path("build/x")), until="train") == "build/x/: everything was up to date"


def test_a_training_ends_with_its_best_epoch_and_where_its_files_are() -> None:
    best = Best({"epoch": 3, "loss": 0.25, "val_loss": 0.5, "val_accuracy": 0.9}, 10, "val_loss")
    ended = outcome_text(Outcome(Path("build/x"), ran=["weights"], best=best), until="train")
    assert ended.splitlines()[0] == (
        "The best of 10 epochs by val_loss is epoch 3: loss 0.2500, val_loss 0.5000, val_accuracy 0.9000"
    )
    for file in ("weights.safetensors", "history.csv", "history.png"):
        assert f"build/x/{file}" in ended
    # What a build did not train is no news of it.
    assert "epoch" not in outcome_text(Outcome(Path("build/x"), ran=["report"], best=best))


def test_a_warning_is_a_line_with_its_hint() -> None:
    stream = io.StringIO()
    with build_progress("tiny", stream) as progress:
        progress("warning", text="it was", hint="do so")
    assert stream.getvalue() == "tiny: warning: it was\n  hint: do so\n"


# Where weights are from


def test_trained_weights_say_what_they_began_with():
    train = {
        "loss": {"name": "cross_entropy"},
        "epochs": 3, "batch_size": 8, "monitor": "val_loss", "schedule": {"name": "cosine"},
        "optimizer": {"name": "adam", "learning_rate": 0.01},
    }  # fmt: skip
    origin = {
        "trained": True, "trainer": "torch", "seed": 5, "train": train, "data": {"source": None, "folder": "photos"},
        "imported": {"file": "base.pt", "sha256": "", "all": False},
    }  # fmt: skip
    said = origin_text(origin)
    assert said.startswith("Trained with torch on photos: 3 epochs, batches of 8, cross_entropy, adam")
    assert said.endswith("the initial weights were the base's from base.pt and the others drawn from seed 5.")
    assert "initial weights" not in origin_text({**origin, "imported": {}})


@pytest.mark.parametrize("kind", ["source", "folder", "file", "hf"])
def test_trained_weights_say_on_what_and_in_which_precision(kind: str) -> None:
    train = {**TrainSettings(precision="bf16").model_dump(mode="json"), "monitor": "val_loss"}
    data = {**dict.fromkeys(["source", "folder", "file", "hf"]), kind: "x"}
    said = origin_text({"trained": True, "trainer": "torch", "seed": 5, "train": train, "data": data})
    assert said.startswith("Trained with torch on x: 10 epochs, ")
    assert "(constant), computed in bf16, seed 5" in said


# Training in lock-step


def lockstep_of(*differences: Difference, crashed: bool = False) -> LockstepVerdict:
    crash = Failure(stage="run", symptom="crash", message="the keras worker ended")
    return LockstepVerdict(
        passed=not differences and not crashed,
        steps=100,
        agreed=2 if differences or crashed else 100,
        backends=("torch", "keras"),
        loss="cross_entropy",
        optimizer="adam",
        schedule="cosine",
        float64={"loss": 2e-4, "weight": 0.5},
        float32={"weight": 0.25},
        synchronised=("conv_1.bias",),
        differences=differences,
        failures=(crash,) if crashed else (),
    )


APART = Difference(
    step=3,
    precision="float64",
    quantity="slot",
    name="<dense_1>.kernel, mean",
    left="keras",
    right="torch",
    place=(4, 0),
    left_value=float("nan"),
    right_value=0.25,
    error=1e-5,
    granted=1e-9,
)


def test_a_training_that_agrees_is_part_of_the_verdict() -> None:
    verdict = verdict_of(network("fashion-mnist-cnn")).trained(lockstep_of())
    text = verify_text(verdict)
    assert text.startswith(
        "fashion-mnist-cnn: EQUAL. torch, keras and onnx compute the spec; training agrees for 100 updates"
    )
    assert "torch and keras with cross_entropy, adam, cosine: 100 of 100 updates agree" in text
    table = text[text.index("as a share of what is granted: 100% is the limit") :].splitlines()[1:4]
    assert [line.split() for line in table] == [
        ["value", "float64", "float32"],
        ["loss", "<1%", "-"],
        ["weight", "50%", "25%"],
    ]
    assert "not compared, for their gradient is zero but for rounding: conv_1.bias" in text
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_a_training_that_differs_is_not_equal() -> None:
    verdict = verdict_of(network("fashion-mnist-cnn")).trained(lockstep_of(APART))
    assert not verdict.passed
    assert verdict.differs
    text = verify_text(verdict)
    assert text.startswith(
        "fashion-mnist-cnn: NOT EQUAL. training differs after update 3; torch, keras and onnx compute the spec"
    )
    said = "after update 3 in float64 the slot <dense_1>.kernel, mean at [4, 0] is nan in keras, 0.25 in torch"
    assert text.count(said) == 2, "in the summary, and where training is told of"
    assert "hint: compare the optimiser's constants" in text
    section = verdict_section(verdict)
    assert "&lt;dense_1&gt;.kernel" in section
    assert "<dense_1>" not in section
    read = Verdict.from_json(verdict.to_json())
    assert read.lockstep is not None
    assert str(read.lockstep.differences[0].left_value) == "nan"


def test_a_training_that_ended_early_is_not_proven() -> None:
    verdict = verdict_of(network("fashion-mnist-cnn")).trained(lockstep_of(crashed=True))
    assert verdict.unproven
    text = verify_text(verdict)
    assert text.startswith("fashion-mnist-cnn: NOT PROVEN. training was not compared to its end")
    assert "crash (run): the keras worker ended" in text
