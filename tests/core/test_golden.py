"""Golden bundles: the same bytes for the same spec, readable by anyone, and a spec that no longer computes it fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from netspec.compile import compile_spec
from netspec.errors import ExpectationError, SpecError
from netspec.spec.load import load_spec
from netspec.spec.model import VerifySettings
from netspec.storage.stages import sha256
from netspec.verify.golden import check_golden, make, write
from netspec.weights import draw

SPEC = """\
inputs: {left: 6x5x3, right: 4}
outputs: {side: flat, end: sum}
layers:
  - conv: CNN | 4, 3 | {act} | from=left
  - flat: GlobalAvgPool
  - other: FNN | 4 | tanh | from=right
  - sum: Add | - | - | from=[flat, other]
expect: {golden: net.safetensors}
"""


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "net.yaml"
    path.write_text(SPEC.replace("{act}", "relu"))
    network = compile_spec(load_spec(path))
    write(tmp_path / "net.safetensors", make(network, draw(network, 3), VerifySettings(inputs=2)), network)
    return path


def check(path: Path) -> None:
    spec = load_spec(path)
    check_golden(spec, compile_spec(spec))


def test_a_bundle_is_plain_arrays_by_the_names_of_the_spec(path):
    found = load_file(path.with_suffix(".safetensors"))
    shapes = {name: (array.shape, array.dtype.name) for name, array in found.items()}
    assert shapes == {
        "inputs.left": ((9, 6, 5, 3), "float32"), "inputs.right": ((9, 4), "float32"),
        "weights.conv.kernel": ((3, 3, 3, 4), "float32"), "weights.conv.bias": ((4,), "float32"),
        "weights.other.kernel": ((4, 4), "float32"), "weights.other.bias": ((4,), "float32"),
        "outputs.side": ((9, 4), "float64"), "outputs.end": ((9, 4), "float64"),
        "granted.side": ((9,), "float64"), "granted.end": ((9,), "float64"),
    }  # fmt: skip
    # Another program, in float32, stays within what is granted.
    left, kernel = found["inputs.left"], found["weights.conv.kernel"]
    windows = np.lib.stride_tricks.sliding_window_view(left, (3, 3), axis=(1, 2))
    conv = np.einsum("nhwcij,ijcf->nhwf", windows, kernel) + found["weights.conv.bias"]
    mean = np.maximum(conv, 0).mean((1, 2))
    assert (np.linalg.norm(mean - found["outputs.side"], axis=1) <= found["granted.side"]).all()
    assert (found["granted.side"] < 1e-4 * np.maximum(np.linalg.norm(found["outputs.side"], axis=1), 1e-3)).all()


def test_the_same_spec_gives_the_same_bytes(path, tmp_path):
    network = compile_spec(load_spec(path))
    write(tmp_path / "again.safetensors", make(network, draw(network, 3), VerifySettings(inputs=2)), network)
    assert sha256(tmp_path / "again.safetensors") == sha256(tmp_path / "net.safetensors")


def test_a_spec_that_computes_it_is_fine(path):
    check(path)
    # Other names of the network, comments and notations change nothing.
    path.write_text("name: other\n" + path.read_text().replace("conv: CNN | 4, 3", "conv: Conv2D | 4, (3,3)"))
    check(path)


def test_a_spec_that_computes_something_else_is_not(path):
    path.write_text(path.read_text().replace("relu", "gelu"))
    with pytest.raises(
        ExpectationError, match=r"net\.yaml:8:18: expect\.golden: output 'side' is not that of"
    ) as caught:
        check(path)
    assert len(caught.value.problems) == 2
    assert caught.value.exit_code == 1


def test_weights_that_do_not_fit_are_named(path):
    path.write_text(path.read_text().replace("CNN | 4, 3", "CNN | 4, 5"))
    with pytest.raises(SpecError, match=r"row 'conv': conv\.kernel"):
        check(path)


def test_inputs_that_do_not_fit_are_named(path):
    path.write_text(path.read_text().replace("left: 6x5x3", "left: 7x5x3"))
    with pytest.raises(ExpectationError, match="has the inputs left 6x5x3, right 4, but the network has left 7x5x3"):
        check(path)


def test_a_pinned_digest_is_that_of_the_file(path):
    file = path.with_suffix(".safetensors")
    pinned = f"golden: {{file: net.safetensors, sha256: {sha256(file)}}}"
    path.write_text(path.read_text().replace("golden: net.safetensors", pinned))
    check(path)
    arrays = load_file(file)
    arrays["inputs.right"] = arrays["inputs.right"] + 1
    save_file(arrays, file)
    with pytest.raises(ExpectationError, match="should have the sha256"):
        check(path)


def test_a_missing_or_damaged_bundle_is_an_error_at_its_line(path):
    file = path.with_suffix(".safetensors")
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(SpecError, match=r"net\.yaml:8:18: expect\.golden: .* is not a whole safetensors file"):
        check(path)
    save_file({"a": np.zeros(3)}, file)
    with pytest.raises(SpecError, match="is no golden bundle"):
        check(path)
    file.unlink()
    with pytest.raises(SpecError, match="there is no file"):
        check(path)
