"""The weights that a network starts with: of a file, of its base's file, and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compile import compile_spec
from netspec.errors import SpecError
from netspec.importing.initial import Start
from netspec.spec.load import load_spec
from netspec.weights import draw, save

TRUNK = """
input: 8x8x1
layers:
  - CNN | 4, 3 | ReLU
  - pool: MaxPool | 2
  - Flatten
  - FNN | 10 | Softmax
"""
TRANSFER = """
base: {spec: trunk.yaml, output: pool, weights: trunk.safetensors}
layers:
  - CNN | 2, 3
  - Flatten
  - FNN | 3 | Softmax
"""


class Place:
    """A folder with a trunk, its weights (drawn from seed 9), and a spec that is based on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("trunk.yaml", TRUNK)
        self.trunk = compile_spec(load_spec(folder / "trunk.yaml"))
        self.weights = draw(self.trunk, 9)

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, self.weights, self.trunk)

    def start(self, text: str = TRANSFER, given: Path | None = None) -> Start:
        spec = load_spec(self.write("net.yaml", text))
        return Start(spec, compile_spec(spec), given)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("NETSPEC_DATA", raising=False)
    (tmp_path / "specs").mkdir()
    found = Place(tmp_path / "specs")
    found.save(found.folder / "trunk.safetensors")
    return found


def test_rows_of_the_base_have_its_weights_and_the_others_are_drawn(place: Place) -> None:
    start = place.start()
    found, drawn = start.weights(5), draw(start.network, 5)
    assert list(found) == [weight.name for weight in start.network.weights()]
    assert start.rows == {"conv_1", "pool"}
    for name, values in found.items():
        expected = place.weights[name] if name.startswith("conv_1.") else drawn[name]
        assert np.array_equal(values, expected), name
    assert not np.array_equal(found["conv_1.kernel"], drawn["conv_1.kernel"])


def test_without_a_file_all_is_drawn(place: Place) -> None:
    start = place.start(TRANSFER.replace(", weights: trunk.safetensors", ""))
    assert (start.file, start.facts, start.rows) == (None, {}, frozenset())
    drawn = draw(start.network, 5)
    assert all(np.array_equal(values, drawn[name]) for name, values in start.weights(5).items())


def test_a_file_for_the_whole_network_needs_none_of_the_base(place: Place, tmp_path: Path) -> None:
    whole = place.start()
    weights = draw(whole.network, 11)
    save(tmp_path / "all.safetensors", weights, whole.network)
    (place.folder / "trunk.safetensors").unlink()
    start = place.start(given=tmp_path / "all.safetensors")
    assert start.facts["all"]
    assert all(np.array_equal(values, weights[name]) for name, values in start.weights(5).items())


def test_the_file_of_a_base_of_the_base(place: Place) -> None:
    place.write("middle.yaml", "base: {spec: trunk.yaml, output: pool, weights: trunk.safetensors}\n")
    start = place.start(TRANSFER.replace("trunk.yaml, output: pool, weights: trunk.safetensors", "middle.yaml"))
    assert start.rows == {"conv_1", "pool"}
    assert np.array_equal(start.weights(5)["conv_1.bias"], place.weights["conv_1.bias"])
    assert np.array_equal(start.weights(5)["conv_1.kernel"], place.weights["conv_1.kernel"])


def test_the_nearest_file_is_taken(place: Place) -> None:
    middle = "base: {spec: trunk.yaml, output: pool, weights: nowhere.safetensors}\nlayers:\n  - wide: CNN | 5, 3\n"
    network = compile_spec(load_spec(place.write("middle.yaml", middle)))
    weights = draw(network, 21)
    save(place.folder / "middle.safetensors", weights, network)
    start = place.start(
        TRANSFER.replace(
            "trunk.yaml, output: pool, weights: trunk.safetensors", "middle.yaml, weights: middle.safetensors"
        ).replace("  - CNN | 2, 3\n", "")
    )
    assert start.rows == {"conv_1", "pool", "wide"}
    assert np.array_equal(start.weights(5)["conv_1.kernel"], weights["conv_1.kernel"])
    assert np.array_equal(start.weights(5)["wide.kernel"], weights["wide.kernel"])


@pytest.mark.parametrize("folder", ["specs", "data", "data/weights"])
def test_where_the_file_is_looked_for(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (place.folder / "trunk.safetensors").unlink()
    place.save(tmp_path / folder / "trunk.safetensors")
    monkeypatch.setenv("NETSPEC_DATA", str(tmp_path / "data"))
    start = place.start()
    assert start.file == tmp_path / folder / "trunk.safetensors"
    assert np.array_equal(start.weights(5)["conv_1.kernel"], place.weights["conv_1.kernel"])


@pytest.mark.parametrize("folder", [".", "data", "data/weights"])
def test_a_file_that_a_user_names_is_looked_for_in_the_same_places(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETSPEC_DATA", str(tmp_path / "data"))
    spec = load_spec(place.folder / "trunk.yaml")
    network = compile_spec(spec)
    with pytest.raises(SpecError) as refused:
        _ = Start(spec, network, Path("mine.safetensors")).file
    for where in ("mine.safetensors", tmp_path / "data/mine.safetensors", tmp_path / "data/weights/mine.safetensors"):
        assert str(where) in str(refused.value)
    place.save(tmp_path / folder / "mine.safetensors")
    file = Start(spec, network, Path("mine.safetensors")).file
    assert file is not None
    assert file.resolve() == (tmp_path / folder / "mine.safetensors").resolve()


def test_a_missing_file_is_said_with_every_place_where_it_was_looked_for(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TRANSFER.replace("weights: trunk", "weights: trnk")
    start = place.start(text)
    with pytest.raises(SpecError) as refused:
        start.weights(5)
    said = str(refused.value)
    assert "net.yaml:2:49: base.weights: there is no file 'trnk.safetensors'" in said
    assert "did you mean 'trunk.safetensors'?" in said
    assert "NETSPEC_DATA, which may name a folder of weights, is not set" in said
    monkeypatch.setenv("NETSPEC_DATA", str(tmp_path))
    with pytest.raises(SpecError) as refused:
        place.start(text).weights(5)
    for folder in (place.folder, tmp_path, tmp_path / "weights"):
        assert str(folder / "trnk.safetensors") in str(refused.value)


def test_a_file_that_cannot_be_read_is_an_error_at_its_place(place: Place) -> None:
    path = place.folder / "trunk.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SpecError, match=r"net.yaml:2:49: base.weights: .*not (a )?whole"):
        place.start().weights(5)
    path.unlink()
    path.mkdir()
    with pytest.raises(SpecError, match=r"net.yaml:2:49: base.weights: .*it is a folder"):
        place.start().weights(5)


def test_weights_of_another_network_are_refused(place: Place) -> None:
    other = compile_spec(load_spec(place.write("other.yaml", TRUNK.replace("4, 3", "6, 3"))))
    save(place.folder / "trunk.safetensors", draw(other, 0), other)
    with pytest.raises(SpecError) as refused:
        place.start().weights(5)
    assert "row 'conv_1': conv_1.kernel has the shape 3x3x1x6, but 3x3x1x4 is needed" in str(refused.value)
    assert all(problem.path == "base.weights" for problem in refused.value.problems)


def test_a_kept_row_whose_shape_the_input_changes_is_said_with_both_inputs(place: Place) -> None:
    text = "input: 10x10x1\nbase: {spec: trunk.yaml, weights: trunk.safetensors}\n"
    with pytest.raises(SpecError) as refused:
        place.start(text).weights(5)
    [problem] = refused.value.problems
    assert "row 'dense_1': dense_1.kernel has the shape 36x10, but 64x10 is needed" in problem.message
    assert problem.hint is not None
    assert "8x8x1" in problem.hint
    assert "10x10x1" in problem.hint


def test_checking_and_compiling_need_no_file(place: Place) -> None:
    (place.folder / "trunk.safetensors").unlink()
    assert place.start().network.parameters


def test_a_model_of_the_api_has_the_weights_of_the_base(place: Place) -> None:
    place.start()
    model = netspec.load(place.folder / "net.yaml")
    assert np.array_equal(model.weights["conv_1.kernel"], place.weights["conv_1.kernel"])
    (place.folder / "trunk.safetensors").unlink()
    with pytest.raises(SpecError, match="there is no file"):
        _ = netspec.load(place.folder / "net.yaml").weights


def test_unnamed_rows_leave_the_names_of_the_base_to_it(place: Place) -> None:
    rows = [row.name for row in place.start().network.rows]
    assert rows == ["conv_1", "pool", "conv_2", "flatten_2", "dense_2"]


def test_a_row_above_the_base_may_not_have_a_name_of_the_base(place: Place) -> None:
    text = (
        "input: 10x10x1\nbase: {spec: trunk.yaml, output: pool}\nlayers:\n  - pool: CNN | 1, 3\n  - base\n  - Flatten\n"
    )
    with pytest.raises(SpecError) as refused:
        place.start(text)
    [problem] = refused.value.problems
    assert problem.message == "the base has a row 'pool', but a row above it has that name"
    assert problem.position is not None
    assert problem.position.line == 5
