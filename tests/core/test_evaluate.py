"""Which images `netspec evaluate` and `predict --data` take, and what is refused before a framework starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import netspec.inference.artefact
from netspec.backend import ExportSettings
from netspec.backend.artefact import content_key
from netspec.compile import compile_spec
from netspec.compile.pixels import trained_network
from netspec.data.chosen import image_samples
from netspec.errors import SpecError
from netspec.inference.inputs import choose_images
from netspec.spec.load import load_spec, parse_spec
from netspec.spec.origin import read_origin
from netspec.storage.stages import BuildFolder, sha256
from netspec.weights import draw, save
from tests.core.test_cli import Run, run
from tests.core.test_folder import fill

__all__ = ["run"]  # the fixture

IMAGES = "name: net\ninput: 6x5x1\nlayers:\n  - Flatten\n  - FNN | 3 | Softmax\n"
TABLE = "name: net\ninput: 2\nlayers:\n  - FNN | 3 | Softmax\n"
PHOTOS = "name: net\ninput: 8x8x3\nlayers:\n  - Flatten\n  - FNN | 3 | Softmax\n"
LABELS = np.arange(30) % 3


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """An empty folder, which is the current one, and no data elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETSPEC_DATA", raising=False)
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def no_workers(monkeypatch):
    def refuse(*_):
        raise AssertionError("a worker was started")

    monkeypatch.setattr(netspec.inference.artefact, "Worker", refuse)


def silent(event, **values):
    """Progress that nobody follows."""


def images(count: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (count, 6, 5)).astype(np.uint8)


def written(text: str, data: str | None, **more: str):
    sections = {"data": data, **more}
    lines = "".join(f"{name}: {value}\n" for name, value in sections.items() if value is not None)
    Path("net.yaml").write_text(text + lines, encoding="utf-8")
    spec = load_spec("net.yaml")
    return spec, compile_spec(spec)


def chosen(spec, network, data=None, split=None):
    return choose_images(spec, network, data, split, silent)


def built(network):
    """A build folder with weights."""
    folder = BuildFolder(Path("build") / network.name)
    with folder.stage("weights", "key", {"network": network.digest, "trained": False, "seed": 0}) as partial:
        save(partial / "weights.safetensors", draw(network, 0), network)
    folder.close()


class TestOwnData:
    def test_the_test_images_unless_another_split_is_wanted(self):
        np.savez("a.npz", x_train=images(), y_train=LABELS, x_test=images(6, 1), y_test=LABELS[:6])
        spec, network = written(IMAGES, "{file: a.npz, validation_split: 0.2}")
        found = chosen(spec, network)
        assert (found.split, len(found), found.classes) == ("test", 6, ("0", "1", "2"))
        assert found.labels.tolist() == LABELS[:6].tolist()
        for split, count in (("train", 24), ("validation", 6), ("test", 6), ("all", 36)):
            assert len(chosen(spec, network, split=split)) == count

    def test_those_to_validate_on_where_there_is_no_test(self):
        np.savez("a.npz", images=images(), labels=LABELS)
        spec, network = written(IMAGES, "{file: a.npz, validation_split: 0.2}")
        found = chosen(spec, network)
        assert (found.split, len(found)) == ("validation", 6)


class TestOtherData:
    def test_all_of_a_file_of_which_nothing_is_held_out(self):
        np.savez("a.npz", images=images(), labels=LABELS)
        np.savez("b.npz", images=images(9, 5), labels=LABELS[:9])
        spec, network = written(IMAGES, "{file: a.npz}")
        found = chosen(spec, network, "b.npz")
        assert (found.name, found.split, len(found)) == ("the file b.npz", "all", 9)
        np.testing.assert_array_equal(found.parts[0][1].images[..., 0], images(9, 5))

    def test_arrays_are_called_as_in_the_spec(self):
        for name in ("a.npz", "b.npz"):
            np.savez(name, pictures=images(), kinds=LABELS)
        spec, network = written(IMAGES, "{file: a.npz, inputs: pictures, labels: kinds}")
        assert len(chosen(spec, network, "b.npz")) == 30
        assert len(chosen(*written(IMAGES, None), "{file: b.npz, inputs: pictures, labels: kinds}")) == 30

    def test_the_test_images_where_the_source_has_some(self):
        spec, network = written("input: 8x8x1\nlayers:\n  - Flatten\n  - FNN | 10 | Softmax\n", None)
        found = chosen(spec, network, "Digits")
        assert (found.name, found.split, len(found)) == ("digits", "test", 359)
        assert len(chosen(spec, network, "digits", "train")) == 1438
        assert len(chosen(spec, network, "digits", "all")) == 1797

    def test_classes_of_a_folder_are_those_of_the_network_by_name(self):
        fill(Path("photos/train"), {"ant": 3, "bee": 2, "fly": 4})
        fill(Path("photos/val"), {"ant": 1, "bee": 1, "fly": 1})
        fill(Path("others"), {"fly": 2, "bee": 3})
        spec, network = written(PHOTOS, "{folder: photos}")
        found = chosen(spec, network, "others")
        assert found.classes == ("ant", "bee", "fly")
        assert sorted(found.labels.tolist()) == [1, 1, 1, 2, 2]
        fill(Path("strange"), {"bee": 3, "ant": 3})
        shutil.move("strange/ant", "strange/flyy")
        with pytest.raises(SpecError, match=r"class 'flyy', which the network does not know\n  hint: did you mean"):
            chosen(spec, network, "strange")

    def test_a_table_is_standardised_as_the_rows_that_were_trained_on(self):
        rows = [f"{x},{3 * x + 1},{'abc'[x % 3]}" for x in range(30)]
        Path("a.csv").write_text("\n".join(["one,two,kind", *rows]), encoding="utf-8")
        Path("b.csv").write_text("one,two,kind\n100,7,c\n", encoding="utf-8")
        spec, network = written(TABLE, "{file: a.csv, labels: kind, standardise: true}")
        [(_, own)] = chosen(spec, network, split="train").parts
        kept = [int(value) for value in own.images[:, 0] * 1]
        assert abs(own.images.mean(axis=0)).max() < 1e-6
        assert kept
        [(_, other)] = chosen(spec, network, "b.csv").parts
        x = np.arange(30.0)
        scale = np.polyfit(own.images[:, 0], own.images[:, 1], 1)  # the columns are one line, so they are alike now
        assert scale == pytest.approx([1, 0], abs=1e-5)
        assert other.images[0, 0] > (100 - x.mean()) / x.std() * 0.9
        assert other.images[0, 1] == pytest.approx((7 - (3 * x.mean() + 1)) / (3 * x.std()), abs=0.1)
        assert other.labels.tolist() == [2]

    def test_pixels_are_scaled_unless_the_artefact_does_it(self):
        np.savez("a.npz", images=images(), labels=LABELS)
        spec, network = written(IMAGES, "{file: a.npz}", preprocess="{scale: 1/255, mean: 0.5}")
        found, pixels = chosen(spec, network, split="train"), trained_network(spec, network)
        raw = found.parts[0][1].images.astype(np.float32)
        [plain] = image_samples(found, network, network, spec.preprocess).batches()
        np.testing.assert_allclose(plain.inputs["input"], raw / 255 - 0.5, rtol=1e-5, atol=1e-6)
        [inside] = image_samples(found, network, pixels, spec.preprocess).batches()
        np.testing.assert_array_equal(inside.inputs["input"], raw)
        assert plain.names[0] == f"train[0]: {found.labels[0]}"


class TestNames:
    def own(self, data):
        return parse_spec(f"{IMAGES}data: {data}\n", "x.yaml").data

    def test_a_name_and_the_hub(self):
        assert read_origin("Fashion_MNIST", None).source == "fashion-mnist"
        assert read_origin("hf:ylecun/mnist", None).hf == "ylecun/mnist"

    def test_what_the_section_says(self):
        found = read_origin("{file: x.csv, labels: species}", None)
        assert (found.file, found.labels) == ("x.csv", "species")

    def test_only_what_is_of_the_same_kind_is_taken_over(self):
        own = self.own("{file: a.csv, labels: kind, inputs: [one, two], validation_split: 0.5, standardise: true}")
        found = read_origin("b.csv", own)
        assert (found.labels, found.inputs, found.standardise) == ("kind", ("one", "two"), False)
        assert read_origin("digits", own).labels is None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            (
                "fashon-mnist",
                "'fashon-mnist' is no known data set, and no folder or file of data\n  hint: did you mean",
            ),
            ("zzz", "hint: digits, mnist, fashion-mnist, cifar10, hf:NAME, a folder of images"),
            ("photo", "did you mean 'photos'?"),
            ("x.csv", "which column of x.csv is the class?"),
            ("{file: x.csv, labls: kind}", "labls"),
            ("{file: x.csv, labels: kind, standardise: true}", "by the rows that were trained on"),
            ("{file: [", "--data:1"),
        ],
    )
    def test_what_is_no_source(self, text, said):
        Path("photos").mkdir()
        with pytest.raises(SpecError) as caught:
            read_origin(text, None)
        assert said in str(caught.value)


def test_the_weights_of_a_build_are_read_for_their_digest_once(monkeypatch):
    pytest.importorskip("torch")
    spec, network = written(IMAGES, None)
    built(network)
    read = []
    monkeypatch.setattr(netspec.inference.artefact, "sha256", lambda path: read.append(path) or sha256(path))
    found = netspec.inference.artefact.find_artefact(spec, network, network, Path("build"), None, "torch")
    assert (found.file, found.known.digest) == (None, sha256(Path("build/net/weights.safetensors")))
    # Without an export there is no key to compare, with one it has the digest already.
    folder = BuildFolder(Path("build/net"))
    with folder.stage("export torch", "another key", {}):
        pass
    folder.close()
    read.clear()
    netspec.inference.artefact.find_artefact(spec, network, network, Path("build"), None, "torch")
    assert read == [Path("build/net/weights.safetensors")]


def test_a_file_of_the_build_runs_whichever_versions_wrote_it():
    pytest.importorskip("torch")
    spec, network = written(IMAGES, None)
    built(network)
    digest = sha256(Path("build/net/weights.safetensors"))
    folder = BuildFolder(Path("build/net"))
    for weights in ("0" * 64, digest):
        content = content_key(network, weights, ExportSettings())
        with folder.stage("export torch", "of other versions", {"content": content}) as partial:
            (partial / "torch").mkdir()
            (partial / "torch" / "net.py").write_text("")
        found = netspec.inference.artefact.find_artefact(spec, network, network, Path("build"), None, "torch")
        assert found.file == (Path("build/net/torch/net.py").resolve() if weights == digest else None)
    folder.close()


class TestRefused:
    """Each with exit status 2, a sentence and a way out, and no framework."""

    @pytest.fixture
    def network(self, no_workers):
        np.savez("a.npz", images=images(), labels=LABELS)
        _, network = written(IMAGES, "{file: a.npz}")
        built(network)
        return network

    def refused(self, run: Run, *options: str, command: str = "evaluate") -> str:
        status, out, err = run(command, "net.yaml", "--backend", "onnx", *options)
        assert (status, out) == (2, ""), (out, err)
        return err

    def test_labels_outside_of_the_classes(self, network, run: Run):
        np.savez("b.npz", images=images(), labels=np.where(LABELS == 2, 7, LABELS))
        err = self.refused(run, "--data", "b.npz")
        assert "10 labels are outside of the classes 0 to 2, the first 7 (label 2)" in err
        assert "the network tells 3 classes apart" in err

    def test_an_unknown_metric(self, network, run: Run):
        err = self.refused(run, "--metrics", "accuracy,recal")
        assert "--metrics: unknown metric 'recal'\n  hint: did you mean 'recall'?" in err

    def test_a_split_that_is_not_there(self, network, run: Run):
        err = self.refused(run, "--split", "test")
        assert "the file a.npz has no split 'test'\n  hint: one of train, validation, or all" in err
        assert "one of train, or all" in self.refused(run, "--data", "a.npz", "--split", "validation")

    def test_an_empty_one(self, network, run: Run):
        np.savez("b.npz", images=images(0), labels=LABELS[:0])
        assert "the images are 0x6x5x1, but n x 6x5x1 is needed" in self.refused(run, "--data", "b.npz")
        Path("empty.csv").write_text("one,kind\n", encoding="utf-8")
        err = self.refused(run, "--data", "{file: empty.csv, labels: kind}")
        assert "a row of a table is a list of numbers" in err

    def test_weights_that_do_not_fit(self, network, run: Run):
        other = compile_spec(parse_spec(IMAGES.replace("FNN | 3", "FNN | 4"), "x.yaml"))
        save(Path("w.safetensors"), draw(other, 0), other)
        err = self.refused(run, "--weights", "w.safetensors")
        assert "w.safetensors" in err
        assert "dense_1" in err

    def test_no_weights(self, network, run: Run):
        shutil.rmtree("build")
        assert "there are no weights in build/net" in self.refused(run)

    def test_weights_of_another_version(self, network, run: Run):
        written(IMAGES.replace("FNN | 3", "FNN | 3 | ReLU\n  - FNN | 3"), "{file: a.npz}")
        assert "another version of this network" in self.refused(run)

    def test_data_of_another_shape(self, network, run: Run):
        """What is to blame is the option, and the network has its weights: to change it is no way out."""
        err = self.refused(run, "--data", "digits")
        assert "--data: the images of digits are 8x8x1, but the input is 6x5x1" in err
        assert "data.source" not in err
        assert "input: 8x8x1" not in err

    def test_data_whose_arrays_are_unknown(self, network, run: Run):
        np.savez("b.npz", one=images(), two=LABELS, three=LABELS)
        err = self.refused(run, "--data", "b.npz")
        assert "--data: b.npz" in err
        assert "hint: --data '{file: x.npz, inputs: NAME, labels: NAME}'" in err
        np.save("b.npy", images())
        err = self.refused(run, "--data", "{file: b.npy, labels: y.npy}")
        assert "--data: labels: there is no file 'y.npy'" in err
        assert "data.file" not in self.refused(run, "--data", "c.npz")

    def test_no_data(self, network, run: Run):
        written(IMAGES, None)
        assert "no `data` section\n  hint: --data names a data set" in self.refused(run)
        assert "there is no file 'c.npz'" in self.refused(run, "--data", "c.npz")

    def test_a_network_that_is_no_classifier(self, network, run: Run):
        written("name: net\ninput: 6x5x1\nlayers:\n  - CNN | 3, 1\n", None)
        assert "the loss needs one flat output" in self.refused(run, "--data", "a.npz")

    def test_an_artefact_that_is_none(self, network, run: Run):
        err = self.refused(run, "--artefact", "a.npz")
        assert "a.npz is no artefact that runs\n  hint: a file ending in .keras, .onnx, .py" in err
        assert "there is no file net.onnx" in self.refused(run, "--artefact", "net.onnx")
        err = self.refused(run, "--artefact", "net.onnx", "--weights", "w.safetensors")
        assert "has its weights, but --weights w.safetensors names others" in err

    @pytest.mark.parametrize("command", [("evaluate",), ("predict", "--split", "train")])
    def test_an_artefact_and_a_backend_that_does_not_run_it(self, network, run: Run, command):
        command, *options = command
        options += ["--artefact", "net.onnx"]
        Path("net.onnx").touch()
        status, _, err = run(command, "net.yaml", "--backend", "keras", *options)
        assert status == 2
        said = "net.onnx is run by onnx, not by keras\n  hint: leave --backend out, or name a file ending in .keras"
        assert f"--artefact: {said}" in err
        status, _, err = run(command, "net.yaml", "--backend", "kers", *options)
        assert (status, "there is no backend 'kers'" in err) == (2, True), err

    def test_a_picture_that_could_not_be_written(self, network, run: Run):
        assert "the picture is a PNG" in self.refused(run, "-o", "x.jpg")
        assert "there is no folder nowhere" in self.refused(run, "-o", "nowhere/x.png")

    def test_nothing_to_predict_or_two_things(self, network, run: Run):
        assert "there is nothing to predict" in self.refused(run, command="predict")
        np.save("x.npy", images(2)[..., np.newaxis])
        err = self.refused(run, "--input", "x.npy", "--split", "train", command="predict")
        assert "--input gives the samples, and so does --split" in err
