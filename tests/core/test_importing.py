"""Files of weights by their path: canonical ones at once, others read in a process of their own; and the command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import netspec
from netspec import cli
from netspec.backend.worker import Worker
from netspec.errors import BackendError, SpecError
from netspec.importing import import_weights, load_weights
from netspec.importing.file import limit_bytes
from netspec.layers import BatchNorm, Conv, Dense, Flatten
from netspec.network import Network
from netspec.weights import draw, load, save
from tests.cases import chain

SPEC = """\
name: small
input: 8x8x3
layers:
  - stem: CNN | 4, 3 | ReLU
  - BatchNorm
  - Flatten
  - FNN | 5
"""


def small() -> Network:
    return chain("small", (8, 8, 3), Conv(filters=4, kernel=3), BatchNorm(), Flatten(), Dense(units=5))


def state(random: np.random.Generator | None = None) -> dict[str, np.ndarray]:
    """A state dict of the same network by other names."""
    random = random or np.random.default_rng(0)
    shapes = {
        "0.weight": (4, 3, 3, 3), "0.bias": (4,),
        "2.weight": (4,), "2.bias": (4,), "2.running_mean": (4,), "2.running_var": (4,),
        "5.weight": (5, 144), "5.bias": (5,),
    }  # fmt: skip
    found = {name: random.random(shape).astype("float32") for name, shape in shapes.items()}
    return found | {"2.num_batches_tracked": np.array(7)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(state(), tmp_path / "theirs.safetensors")
    return tmp_path / "theirs.safetensors"


def refusal(path: Path, **options) -> str:
    with pytest.raises(SpecError) as caught:
        import_weights(path, small(), **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_canonical_files_are_known_and_need_no_other_process(tmp_path, monkeypatch):
    network = small()
    weights = draw(network, 3)
    save(tmp_path / "ours.safetensors", weights, network)
    save_file(weights, tmp_path / "bare.safetensors")  # the same names, and nothing else that says so
    monkeypatch.setattr(Worker, "__init__", lambda *_: pytest.fail("a process was started"))
    for name in ("ours.safetensors", "bare.safetensors"):
        found = load_weights(tmp_path / name, network)
        assert list(found) == list(weights)
        assert all(found[each].tobytes() == weights[each].tobytes() for each in weights)


def test_a_canonical_file_of_another_version_is_said_row_by_row(tmp_path):
    other = chain("small", (8, 8, 3), Conv(filters=6, kernel=3), BatchNorm(scale=False), Flatten(), Dense(units=5))
    save(tmp_path / "ours.safetensors", draw(other, 3), other)
    said = refusal(tmp_path / "ours.safetensors")
    assert "row 'conv_1': conv_1.kernel has the shape 3x3x3x6, but 3x3x3x4 is needed" in said
    assert "row 'batch_norm_1': batch_norm_1.gamma is missing" in said


def test_a_canonical_file_with_other_rows_is_mapped(tmp_path):
    network = small()
    weights = draw(network, 3)
    save_file(
        {name.replace("conv_1", "stem").replace("dense_1", "head"): array for name, array in weights.items()},
        tmp_path / "old.safetensors",
        {"netspec": "{}"},
    )
    (tmp_path / "map.yaml").write_text("conv_1: stem\ndense_1: head\n")
    assert "stem.kernel belongs to no row of small" in refusal(tmp_path / "old.safetensors")
    found = import_weights(tmp_path / "old.safetensors", network, mapping=tmp_path / "map.yaml")
    assert all(found.weights[name].tobytes() == weights[name].tobytes() for name in weights)
    assert not found.notes


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(tmp_path, lost):
    network = small()
    ours, theirs = draw(network, 3), state()
    ours["conv_1.kernel"].flat[5] = theirs["0.weight"].flat[5] = lost
    theirs["5.bias"] = np.full(5, 1e300)  # which float32 cannot hold
    save_file(ours, tmp_path / "ours.safetensors")
    save_file(theirs, tmp_path / "theirs.safetensors")
    said = refusal(tmp_path / "ours.safetensors")
    assert "row 'conv_1': 1 of the 108 numbers of conv_1.kernel are not finite in float32" in said
    said = refusal(tmp_path / "theirs.safetensors")
    assert "row 'conv_1': 1 of the 108 numbers of 0.weight (float32) are not finite in float32" in said
    assert "row 'dense_1': 5 of the 5 numbers of 5.bias (float64) are not finite in float32" in said


def test_a_state_dict_is_imported(file):
    found = import_weights(file, small())
    theirs = state()
    np.testing.assert_array_equal(found.weights["conv_1.kernel"], theirs["0.weight"].transpose(2, 3, 1, 0))
    flat = theirs["5.weight"].reshape(5, 4, 6, 6).transpose(2, 3, 1, 0).reshape(144, 5)
    np.testing.assert_array_equal(found.weights["dense_1.kernel"], flat)
    assert found.origins["batch_norm_1.var"].name == "2.running_var"
    last = import_weights(file, small(), flattened="last").weights["dense_1.kernel"]
    np.testing.assert_array_equal(last, theirs["5.weight"].T)


def test_weights_of_others_are_given_to_a_spec(file, tmp_path):
    (tmp_path / "small.yaml").write_text(SPEC)
    model = netspec.load(tmp_path / "small.yaml", weights=file)
    np.testing.assert_array_equal(model.weights["stem.bias"], state()["0.bias"])


def test_files_that_are_not_there_or_not_known(tmp_path, file):
    assert "there is no such file\n  hint: did you mean 'theirs.safetensors'?" in refusal(
        tmp_path / "their.safetensors"
    )
    assert "there is no such file" in refusal(tmp_path / "no" / "folder.pt")
    assert "it is a folder" in refusal(tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"x")
    said = refusal(tmp_path / "weights.npz")
    assert "files ending in '.npz' are not known\n  hint: one of '.bin', '.h5'" in said


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "endless.pt")
    assert "it is no regular file" in refusal(tmp_path / "endless.pt")


def test_a_file_far_larger_than_the_network_is_not_read(tmp_path):
    path = tmp_path / "large.pt"
    with path.open("wb") as written:
        written.truncate(limit_bytes(small()) + 1)
    assert "but small has only 853 numbers\n  hint: is it of this network?" in refusal(path)


@pytest.mark.parametrize("rest", [0, 4, 100, -4])
def test_truncated_files(file, rest):
    content = file.read_bytes()
    file.write_bytes(content[:rest])
    assert "not a whole safetensors file" in refusal(file)


def test_a_header_that_is_huge(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    assert "not a whole safetensors file" in refusal(path)


def test_whole_numbers_are_no_weights(tmp_path):
    theirs = state() | {"5.weight": np.ones((5, 144), np.int32)}
    save_file(theirs, tmp_path / "w.safetensors")
    said = refusal(tmp_path / "w.safetensors")
    assert "row 'dense_1': 5.weight is int32, but weights are floating point numbers" in said
    assert "a quantized model has to be turned back" in said


def test_what_is_ignored_is_left_out(tmp_path):
    save_file(
        state() | {"aux.0.weight": np.ones((2, 2), "float32"), "aux.0.bias": np.ones(2, "float32")},
        tmp_path / "w.safetensors",
    )
    assert "holds 10 tensors, too many: small needs 8" in refusal(tmp_path / "w.safetensors")
    assert import_weights(tmp_path / "w.safetensors", small(), ignore=["aux.*"]).how.endswith("and the shapes")
    said = refusal(tmp_path / "w.safetensors", ignore=["aux.*", "aux.1"])
    assert "has the name 'aux.1'\n  hint: did you mean 'aux.0'?" in said


def test_a_missing_library_is_named(file, monkeypatch):
    monkeypatch.setattr("netspec.importing.file.find_spec", lambda name: None)
    with pytest.raises(
        BackendError, match=r"needs safetensors, which is not installed\n  hint: pip install 'netspec\[torch\]'"
    ):
        load_weights(file, small())


def test_a_reader_that_dies_is_a_file_that_cannot_be_read(file, monkeypatch):
    call = Worker.call

    def die(self, method, **arguments):
        self.kill()
        return call(self, method, **arguments)

    monkeypatch.setattr(Worker, "call", die)
    assert "reading it ended the process that did" in refusal(file)


# The mapping file


def mapped(tmp_path: Path, text: str) -> Path:
    (tmp_path / "map.yaml").write_text(text)
    return tmp_path / "map.yaml"


def test_rows_and_weights_are_mapped(file, tmp_path):
    text = "conv_1: '0'   # a row has a layer\ndense_1.bias: 5.bias\ndense_1.kernel: 5.weight\n"
    found = import_weights(file, small(), mapping=mapped(tmp_path, text))
    assert found.origins["conv_1.kernel"].name == "0.weight"
    assert found.how == "by the mapping file and by the tree of names and the shapes"
    whole = import_weights(file, small(), mapping=mapped(tmp_path, text + "batch_norm_1: '2'\n"))
    assert whole.how == "as the mapping file says"
    assert whole.weights["dense_1.kernel"].tobytes() == found.weights["dense_1.kernel"].tobytes()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("conv_2: '0'\n", 1, "there is no row or weight 'conv_2' with weights\n  hint: did you mean 'conv_1'?"),
        ("conv_1: '9'\n", 1, "the file has no layer or tensor '9'"),
        ("conv_1: 0.wieght\n", 1, "the file has no layer or tensor '0.wieght'\n  hint: did you mean '0.weight'?"),
        ("\nconv_1: '2'\n", 2, "conv_1 needs weight, bias, but 2 has weight, bias, running_mean, running_var"),
        ("conv_1: '5'\n", 1, "conv_1.kernel has to be 4x3x3x3 in this file, but 5.weight is 5x144"),
        ("conv_1: '0'\nconv_1.bias: 0.bias\n", 2, "conv_1.bias is given twice"),
        ("conv_1.bias: 0.bias\nbatch_norm_1.mean: 0.bias\n", 2, "0.bias is given to conv_1.bias already"),
        ("conv_1: [a]\n", 1, "conv_1 has to name one layer or tensor of the file"),
        ("conv_1:\n", 1, "conv_1 has to name one layer or tensor of the file"),
        ("- conv_1\n", 1, "a mapping file has lines of the form `row: layer`"),
        ("conv_1: '0'\nconv_1: '5'\n", 2, "the key 'conv_1' is here for the second time"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_mapping_file_is_said_at_its_place(file, tmp_path, text, line, said):
    found = refusal(file, mapping=mapped(tmp_path, text))
    assert f"map.yaml:{line}:" in found
    assert said in found


def test_a_mapping_file_that_is_empty_or_missing(file, tmp_path):
    assert "a mapping file has lines of the form" in refusal(file, mapping=mapped(tmp_path, "\n"))
    assert "there is no such file\n  hint: did you mean 'map.yaml'?" in refusal(file, mapping=tmp_path / "mop.yaml")


# The command


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    (tmp_path / "small.yaml").write_text(SPEC)

    def command(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(
            sys, "argv", ["netspec", "import-weights", str(tmp_path / "small.yaml"), *map(str, arguments)]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    return command


def test_the_command_says_what_it_found_where_and_writes_it(run, file, tmp_path):
    output = tmp_path / "weights.safetensors"
    status, out, err = run(file, "-o", output)
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["stem.kernel", "0.weight", "4x3x3x3", "3x3x3x4"] in lines
    assert ["stem.bias", "0.bias", "4"] in lines
    assert "note: dense_1.kernel: taken in the order channels, height, width" in out
    assert out.splitlines()[-1] == f"{output}: 8 tensors, 853 numbers, matched by the tree of names and the shapes"
    found = load_file(output)
    np.testing.assert_array_equal(found["stem.kernel"], state()["0.weight"].transpose(2, 3, 1, 0))
    assert load(output, netspec.load(tmp_path / "small.yaml").network).keys() == found.keys()


def test_the_command_as_json(run, file, tmp_path):
    status, out, _ = run(file, "-o", tmp_path / "w.safetensors", "--flattened", "first", "--format", "json")
    found = json.loads(out)
    assert status == 0
    assert set(found) == {"output", "network", "matched", "parameters", "weights", "notes"}
    assert found["weights"][0] == {
        "weight": "stem.kernel",
        "shape": [3, 3, 3, 4],
        "from": "0.weight",
        "shape_there": [4, 3, 3, 3],
        "type_there": "float32",
    }


def test_nothing_is_written_where_something_is_wrong(run, file, tmp_path):
    output = tmp_path / "weights.safetensors"
    output.write_text("what was there before")
    before = sorted(tmp_path.iterdir())
    status, out, err = run(file, "-o", output, "--set", "layers.0.filters=5")
    assert (status, out) == (2, "")
    assert "row 'stem': kernel has to be 3x3x3x5 (5x3x3x3 in this file's layout), but 0.weight is 4x3x3x3" in err
    assert output.read_text() == "what was there before"
    assert sorted(tmp_path.iterdir()) == before
    status, out, _ = run(file, "-o", output, "--set", "layers.0.filters=5", "--format", "json")
    assert status == 2
    assert "row 'stem'" in json.loads(out)["problems"][0]["message"]


def test_a_place_that_cannot_be_written_is_said(run, file, tmp_path):
    status, _, err = run(file, "-o", tmp_path / "no" / "folder" / "weights.safetensors")
    assert status == 2
    assert str(tmp_path / "no" / "folder") in err
    assert "Traceback" not in err
