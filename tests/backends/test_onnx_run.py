"""ONNX files at work: read back, run by plain ONNX Runtime, and row by row."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from netspec_onnx import backend, model

from netspec.backend import ExportSettings, OnnxExport
from netspec.compile import compile_spec
from netspec.errors import BackendError
from netspec.layers import KINDS
from netspec.reference import evaluate
from netspec.spec.load import parse_spec
from netspec.spec.model import VerifySettings
from netspec.verify.budget import budget, gate, predict
from netspec.verify.check import check
from netspec.verify.compare import compare
from netspec.verify.inputs import biting_weights, hard_inputs
from tests.cases import chain

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SPEC = """
name: small
input: 11x9x3
layers:
  - Rescale | 1/3
  - CNN | 6, 3 | - | padding=same, stride=2
  - BatchNorm | - | ReLU
  - DepthwiseConv | 3 | gelu | multiplier=2
  - SpatialDropout | 0.2
  - LayerNorm
  - ConvTranspose | 4, 3 | leaky_relu(0.1) | stride=2
  - GroupNorm | 2
  - AvgPool | 2
  - Flatten
  - FNN | 7 | selu
  - Dropout | 0.5
  - FNN | 3 | Softmax
"""
IMAGES = "{name: images, input: 11x9x3, layers: ['CNN | 4, 3', 'MaxPool | 2', 'Upsample | 2']}"
LAYOUTS = pytest.mark.parametrize("layout", ["nchw", "nhwc"])


def problem(text=SPEC):
    """A network with weights and inputs that bite, and what the reference says."""
    network = compile_spec(parse_spec(text, "spec.yaml"))
    weights, inputs = biting_weights(network, seed=5), hard_inputs(network, 2, seed=6)
    reference = evaluate(network, weights, inputs)
    return network, weights, inputs, reference, predict(network, weights, inputs, reference)


def export(network, weights, folder, layout="nchw"):
    return backend.export(network, weights, folder, ExportSettings(onnx=OnnxExport(layout=layout)))


UNCOMMON = (Path(__file__).parents[1] / "golden" / "uncommon.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", [SPEC, UNCOMMON], ids=["small", "uncommon"])
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_every_row_is_read(precision, text):
    network, weights, inputs, reference, predicted = problem(text)
    values = backend.run(network, weights, inputs, precision)
    assert list(values) == [row.name for row in network.rows]
    for row, value in values.items():
        assert value.dtype == precision
        granted = (gate if precision == "float64" else budget)(reference[row], predicted[row])
        assert compare(reference[row], value, granted).symptom is None, row


def test_a_dropout_is_the_row_before_it():
    network, weights, inputs, _, _ = problem()
    values = backend.run(network, weights, inputs, "float32")
    np.testing.assert_array_equal(values["dropout_1"], values["dense_1"])


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_feed_judges_each_row_alone(precision):
    """What is fed after one row reaches the next row, and no other."""
    network, weights, inputs, reference, _ = problem()
    rows = [row.name for row in network.rows]
    plain = backend.run(network, weights, inputs, precision, feed=reference)
    assert list(plain) == rows
    for row in rows:
        assert np.linalg.norm(plain[row] - reference[row]) <= 1e-4 * np.linalg.norm(reference[row]), row
    for culprit, victim in itertools.pairwise(rows):
        feed = {**reference, culprit: reference[culprit] + 1.0 + reference[culprit] ** 2}
        values = backend.run(network, weights, inputs, precision, feed=feed)
        moved = [row for row in rows if not np.array_equal(values[row], plain[row])]
        assert moved == [victim]


def test_feed_of_some_rows_leaves_the_others_accumulating():
    network, weights, inputs, _, _ = problem()
    plain = backend.run(network, weights, inputs, "float32")
    zeros = np.zeros_like(plain["flatten_1"])
    values = backend.run(network, weights, inputs, "float32", feed={"flatten_1": zeros})
    np.testing.assert_array_equal(values["flatten_1"], plain["flatten_1"])
    # Alike but for the last bit: ONNX Runtime ends a batch with other instructions than it computes the rest with.
    np.testing.assert_allclose(values["dense_2"], np.broadcast_to(values["dense_2"][0], values["dense_2"].shape), 1e-6)
    assert not np.allclose(plain["dense_2"], values["dense_2"])


@LAYOUTS
@pytest.mark.parametrize("text", [SPEC, IMAGES], ids=["vector", "image"])
def test_the_file_runs_optimised(text, layout, tmp_path):
    network, weights, inputs, reference, predicted = problem(text)
    [name] = export(network, weights, tmp_path, layout)
    outputs = backend.run_artefact(tmp_path, network, inputs)
    assert list(outputs) == [name]
    row = network.rows[-1].name
    assert compare(reference[row], outputs[name]["output"], budget(reference[row], predicted[row])).symptom is None
    plain = backend.run(network, weights, inputs, "float32")[row]
    assert compare(plain, outputs[name]["output"], budget(reference[row], predicted[row])).symptom is None


class Here:
    """The backend in this process."""

    def call(self, method, **arguments):
        return getattr(backend, method)(**arguments)


class Wrong:
    """A session whose outputs are a hundredth too large."""

    def __init__(self, session):
        self.session = session

    def __getattr__(self, name):
        return getattr(self.session, name)

    def run(self, names, given):
        return [output * np.float32(1.01) for output in self.session.run(names, given)]


LEVELS = ("disable", "basic", "extended", "layout")


@pytest.mark.parametrize("fault", ["value", "crash", None])
def test_a_level_of_optimisation_that_differs_is_named(fault, tmp_path, monkeypatch):
    """Planted in sessions of the exported file with extended optimisations, and in no others."""
    network, weights, _, _, _ = problem()
    [name] = export(network, weights, tmp_path / "onnx")
    made = model._session

    def session(loaded, level):
        if fault and isinstance(loaded, Path) and level == ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED:
            if fault == "crash":
                raise model.NOT_LOADABLE[0]("a fusion failed")
            return Wrong(made(loaded, level))
        return made(loaded, level)

    monkeypatch.setattr(model, "_session", session)
    verdict = check(network, weights, tmp_path, VerifySettings(), {"onnx": Here()})
    [judged] = verdict.backends
    found = {artefact.file: artefact.passed for artefact in judged.artefacts}
    if fault == "crash":
        [failure] = judged.failures
        assert (failure.stage, failure.symptom) == ("run", "crash")
        assert failure.message == f"ONNX Runtime does not run {name} (level extended): a fusion failed"
        assert found == {name: True}
        return
    known = [level for level in LEVELS if f"ORT_ENABLE_{level.upper()}" in dir(ort.GraphOptimizationLevel)]
    assert found == {
        name: True,
        **{f"{name} (level {level})": not (fault and level == "extended") for level in ["disable", *known]},
    }
    assert [failure.message.split(":")[0] for failure in judged.failures] == (
        [f"{name} (level extended), loaded afresh"] if fault else []
    )


@pytest.mark.parametrize("levels", [False, True])
def test_whether_every_level_is_run_can_be_said(levels, tmp_path, monkeypatch):
    """By default it is not, where the weights are large."""
    network, weights, _, _, _ = problem(IMAGES)
    export(network, weights, tmp_path / "onnx")
    settings = [VerifySettings(levels=levels), VerifySettings()]
    monkeypatch.setattr("netspec.verify.check.fits_together", lambda _: levels)
    for each in settings:
        [judged] = check(network, weights, tmp_path, each, {"onnx": Here()}).backends
        assert judged.passed
        assert (len(judged.artefacts) > 1) == levels


def test_layouts_differ_in_the_file_only(tmp_path):
    network, weights, inputs, _, _ = problem(IMAGES)
    results = {}
    for layout in ("nchw", "nhwc"):
        [name] = export(network, weights, tmp_path / layout, layout)
        session = onnxruntime.InferenceSession(tmp_path / layout / name, providers=["CPUExecutionProvider"])
        given = inputs["input"].transpose(0, 3, 1, 2) if layout == "nchw" else inputs["input"]
        [results[layout]] = session.run(None, {"input": np.ascontiguousarray(given, np.float32)})
    assert results["nchw"].shape[1:] == (4, 8, 6)
    np.testing.assert_allclose(results["nchw"].transpose(0, 2, 3, 1), results["nhwc"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_batch_is_dynamic(batch, tmp_path):
    network, weights, inputs, _, _ = problem()
    [name] = export(network, weights, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 11, 9]
    given = np.repeat(inputs["input"][:1], batch, axis=0).transpose(0, 3, 1, 2).astype(np.float32)
    [result] = session.run(None, {"input": given})
    assert result.shape == (batch, 3)
    np.testing.assert_allclose(result, np.repeat(result[:1], batch, axis=0), rtol=1e-5)


def test_weights_come_back_bit_for_bit(tmp_path):
    network, weights, *_ = problem()
    export(network, weights, tmp_path)
    found = backend.read_weights(tmp_path, network)
    assert set(found) == set(weights)
    for name, array in weights.items():
        assert found[name].tobytes() == array.tobytes(), name
        assert found[name].shape == array.shape


def test_counts_are_taken_from_the_file(tmp_path):
    network, weights, *_ = problem()
    export(network, weights, tmp_path)
    counts = backend.counts(tmp_path, network)
    assert counts == {row.name: (row.trainable, row.non_trainable) for row in network.rows if row.parameters}
    assert counts["batch_norm_1"] == (12, 12)
    model = onnx.load(tmp_path / "small.onnx")
    [bias] = [each for each in model.graph.initializer if each.name == "dense_2.bias"]
    bias.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "dense_2.bias"))
    onnx.save(model, tmp_path / "small.onnx")
    assert backend.counts(tmp_path, network)["dense_2"] == (7 * 3 + 1, 0)


def test_a_file_without_a_weight_is_refused(tmp_path):
    network, weights, *_ = problem(IMAGES)
    export(network, weights, tmp_path)
    model = onnx.load(tmp_path / "images.onnx")
    model.graph.initializer[0].name = "other"
    onnx.save(model, tmp_path / "images.onnx")
    with pytest.raises(BackendError, match=r"has no weight 'conv_1\.kernel'"):
        backend.read_weights(tmp_path, network)


def test_large_weights_go_to_a_file_of_their_own(tmp_path, monkeypatch):
    network, weights, inputs, reference, predicted = problem()
    monkeypatch.setattr("netspec_onnx.model.EXTERNAL_BYTES", 100)
    files = export(network, weights, tmp_path)
    assert files == ["small.onnx", "small.onnx.data"]
    assert sorted(each.name for each in tmp_path.iterdir()) == files
    found = backend.read_weights(tmp_path, network)
    assert all(found[name].tobytes() == array.tobytes() for name, array in weights.items())
    [output] = backend.run_artefact(tmp_path, network, inputs).values()
    assert (
        compare(reference["dense_2"], output["output"], budget(reference["dense_2"], predicted["dense_2"])).symptom
        is None
    )
    rows = backend.run(network, weights, inputs, "float32")
    assert (
        compare(reference["dense_2"], rows["dense_2"], budget(reference["dense_2"], predicted["dense_2"])).symptom
        is None
    )
    assert backend.counts(tmp_path, network)["dense_2"] == (24, 0)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_predict_goes_piece_by_piece(count, monkeypatch):
    network, weights, inputs, _, _ = problem(IMAGES)
    monkeypatch.setattr("netspec.memory.PIECE_BYTES", 1)
    given = {"input": inputs["input"][:1].repeat(count, axis=0) + np.arange(count).reshape(-1, 1, 1, 1)}
    found = backend.predict(network, weights, given)["output"]
    assert found.shape == (count, 8, 6, 4)
    assert found.dtype == np.float32
    if count:
        row = backend.run(network, weights, given, "float32")["upsample_1"]
        np.testing.assert_allclose(found, row, rtol=1e-4, atol=1e-5)


def test_threads_that_wait_do_not_spin(monkeypatch):
    """Several backends compute side by side while a build is verified."""
    network, weights, inputs, _, _ = problem(IMAGES)
    made = []
    session = ort.InferenceSession
    monkeypatch.setattr(
        ort, "InferenceSession", lambda *given, **named: made.append(session(*given, **named)) or made[-1]
    )
    backend.predict(network, weights, inputs)
    backend.run(network, weights, inputs, "float32")
    entry = "session.intra_op.allow_spinning"
    assert [each.get_session_options().get_session_config_entry(entry) for each in made] == ["0", "0"]


def test_a_group_norm_keeps_its_digits_far_from_zero():
    """ONNX Runtime's own GroupNormalization loses them: a mean of 1000 and a deviation of 1."""
    network = compile_spec(parse_spec("{name: x, input: 5x4x6, layers: ['GroupNorm | 2']}", "x.yaml"))
    weights = biting_weights(network, seed=1)
    inputs = {"input": 1000 + np.random.default_rng(2).normal(size=(2, 5, 4, 6))}
    values = backend.run(network, weights, inputs, "float32")["group_norm_1"]
    expected = evaluate(network, weights, inputs)["group_norm_1"]
    assert np.linalg.norm(values - expected) <= 1e-3 * np.linalg.norm(expected)


def test_a_small_channel_beside_large_ones_keeps_its_digits():
    """ONNX Runtime's own LRN carries a sum along the channels, which is negative or nothing after a large one."""
    network = compile_spec(
        parse_spec("{name: x, input: 4x3x96, layers: ['LRN | 5 | - | alpha=1, beta=0.5, k=1e-3']}", "x")
    )
    random = np.random.default_rng(2)
    inputs = np.where(random.random((2, 4, 3, 96)) < 0.1, 1e3, 1e-2 * random.standard_normal((2, 4, 3, 96)))
    given = {"input": inputs.astype(np.float32)}
    values = backend.run(network, {}, given, "float32")["lrn_1"]
    np.testing.assert_allclose(values, evaluate(network, {}, given)["lrn_1"], rtol=1e-5)


def test_ceil_means_what_onnx_runtime_means():
    """Every window, stride and pads along one axis, where torch has no pads but equal ones."""
    windows = itertools.product(range(1, 8), (2, 3, 4), (2, 3, 4), (0, 1, 2), (0, 1, 2))
    fitting = [case for case in windows if max(case[3:]) < case[1] <= case[0] + sum(case[3:])]
    added = 0
    for size, window, stride, begin, end in fitting:
        x = np.random.default_rng(size).standard_normal((2, size, 3)).astype(np.float32)
        for kind, options in (("MaxPool", {}), ("AvgPool", {}), ("AvgPool", {"count_include_pad": True})):
            layer = KINDS[kind](size=window, stride=stride, padding=((begin, end),), ceil=True, **options)
            network = chain("ceil", (size, 3), layer)
            added += network.nodes[0].layer.ceil
            [expected] = evaluate(network, {}, {"input": x}).values()
            attributes = {"kernel_shape": [window], "strides": [stride], "pads": [begin, end], "ceil_mode": 1}
            attributes |= {name: int(value) for name, value in options.items()}
            found = one_operator(kind.replace("Avg", "Average"), x.transpose(0, 2, 1), attributes).transpose(0, 2, 1)
            assert found.shape == expected.shape, layer
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=repr(layer))
    assert added > len(fitting) / 2, "many of these add a window"


def one_operator(name, x, attributes):
    """What ONNX Runtime computes for one operator."""
    values = [onnx.helper.make_tensor_value_info(each, onnx.TensorProto.FLOAT, None) for each in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(name, ["x"], ["y"], **attributes)], "one", *([v] for v in values)
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ascontiguousarray(x)})[0]


@pytest.mark.parametrize(("old", "new"), [(30, 9), (36, 39), (40, 6), (7, 3)])
def test_nearest_takes_the_nearest_pixel_exactly(old, new):
    """Centres that fall between two pixels, where float32 arithmetic takes the wrong one."""
    network = compile_spec(
        parse_spec(f"{{name: x, input: {old}x2x1, layers: ['Resize | ({new},2) | - | mode=nearest']}}", "x")
    )
    inputs = np.arange(old * 2.0).reshape(1, old, 2, 1)
    values = backend.run(network, {}, {"input": inputs}, "float32")["resize_1"]
    expected = [(2 * index + 1) * old // (2 * new) for index in range(new)]
    np.testing.assert_array_equal(values[0, :, :, 0], inputs[0, expected, :, 0])


def test_the_file_needs_nothing_but_its_runtime(tmp_path):
    """It runs without netspec or onnx, and without a word on standard output or error."""
    network, weights, inputs, _, _ = problem()
    [name] = export(network, weights, tmp_path)
    np.save(tmp_path / "inputs.npy", inputs["input"].transpose(0, 3, 1, 2).astype(np.float32))
    script = (
        "import sys, numpy, onnxruntime\n"
        f"session = onnxruntime.InferenceSession({str(tmp_path / name)!r}, providers=['CPUExecutionProvider'])\n"
        f"[result] = session.run(None, {{'input': numpy.load({str(tmp_path / 'inputs.npy')!r})}})\n"
        f"numpy.save({str(tmp_path / 'result.npy')!r}, result)\n"
        "assert not {'netspec', 'netspec_onnx', 'onnx', 'onnx_ir', 'torch', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    [ours] = backend.run_artefact(tmp_path, network, inputs).values()
    np.testing.assert_array_equal(np.load(tmp_path / "result.npy"), ours["output"])


def test_devices_end_with_the_cpu_and_say_nothing():
    script = "from netspec_onnx import backend; print(*backend.devices())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() in (["cpu"], ["cuda:0", "cpu"])


def test_importing_the_backend_and_its_rules_imports_no_library():
    script = (
        "import sys, netspec_onnx.rules, netspec_onnx.render\n"
        "print(*({'onnx', 'onnx_ir', 'onnxruntime', 'numpy', 'torch', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_versions_are_those_of_the_libraries():
    versions = backend.versions()
    assert versions["onnx"] == onnx.__version__
    assert {"onnxruntime", "onnxruntime-gpu"} & set(versions)
    assert "onnx-ir" in versions
