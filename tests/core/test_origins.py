"""Files of arrays, tables and the hub as data, what is kept of them decoded, and everything that may be wrong."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from netspec.compile import compile_spec
from netspec.data import DataSettings, load
from netspec.data import cache as caching
from netspec.data.dataset import Split
from netspec.errors import BackendError, SpecError
from netspec.spec.load import load_spec, parse_spec

IMAGES = "input: 6x5x1\nlayers:\n  - Flatten\n  - FNN | 3 | Softmax\n"
TABLE = "input: 2\nlayers:\n  - FNN | 3 | Softmax\n"


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NETSPEC_DATA", raising=False)
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))


def read(near: Path, data: str, text: str = IMAGES, **more):
    path = near / "x.yaml"
    path.write_text(f"{text}data: {data}\n")
    spec = load_spec(path)
    return load(spec.data, compile_spec(spec), near, spec.preprocess, **more)


def refused(near: Path, data: str, text: str = IMAGES) -> str:
    with pytest.raises(SpecError) as caught:
        read(near, data, text)
    return str(caught.value)


def images(count: int = 30, kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 200, (count, 6, 5)).astype(kind)


LABELS = np.arange(30) % 3


class TestArrays:
    def test_usual_names_and_a_channel_that_is_left_out(self, tmp_path):
        x, y = images(), LABELS
        np.savez(tmp_path / "a.npz", x_train=x, y_train=y[:, np.newaxis], x_test=x[:6] + 1, y_test=y[:6])
        dataset = read(tmp_path, "{file: a.npz, validation_split: 0.2}")
        assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (24, 6, 6)
        assert dataset.train.images.dtype == np.uint8
        assert dataset.train.images.shape[1:] == (6, 5, 1)
        np.testing.assert_array_equal(dataset.test.images[..., 0], x[:6] + 1)
        assert dataset.classes == ("0", "1", "2")

    def test_names_that_are_said_and_files_for_the_other_splits(self, tmp_path):
        np.savez(tmp_path / "a.npz", pictures=images(), kinds=np.eye(3)[LABELS])
        np.savez(tmp_path / "b.npz", images=images(9), labels=LABELS[:9])
        dataset = read(tmp_path, "{file: a.npz, inputs: pictures, labels: kinds}")
        for image, label in zip(dataset.train.images[..., 0], dataset.train.labels, strict=True):
            assert label == LABELS[(images() == image).all(axis=(1, 2)).argmax()]
        np.savez(tmp_path / "a.npz", images=images(), labels=LABELS)
        dataset = read(tmp_path, "{file: a.npz, test: b.npz}")
        assert len(dataset.test) == 9

    def test_npy_with_its_labels_beside_it(self, tmp_path):
        np.save(tmp_path / "x.npy", images(kind=np.float64) / 7)
        np.save(tmp_path / "y.npy", np.array(["ant", "bee", "fly"])[LABELS])
        dataset = read(tmp_path, "{file: x.npy, labels: y.npy}\nclasses: [bee, ant, fly]")
        assert dataset.train.images.dtype == np.float32
        for image, label in zip(dataset.train.images[..., 0], dataset.train.labels, strict=True):
            assert label == [1, 0, 2][LABELS[np.isclose(images() / 7, image).all(axis=(1, 2)).argmax()]]
        assert dataset.classes == ("bee", "ant", "fly")

    def test_words_that_nobody_has_named_would_be_lost(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=images(), y=np.array(["ant", "bee", "fly"])[LABELS])
        said = refused(tmp_path, "{file: a.npz}")
        assert "the artefacts would not know the classes of the file a.npz" in said
        assert "hint: classes: [ant, bee, fly]" in said

    def test_a_tampered_file(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=images(), y=LABELS)
        said = refused(tmp_path, f"{{file: a.npz, sha256: {'0' * 64}}}")
        assert "a.npz is not the file that the spec means: its sha256 is" in said

    @pytest.mark.parametrize("keep", [0, 100, 700])
    def test_a_truncated_file(self, tmp_path, keep):
        np.savez(tmp_path / "a.npz", x=images(), y=LABELS)
        whole = (tmp_path / "a.npz").read_bytes()
        (tmp_path / "a.npz").write_bytes(whole[:keep])
        assert "a.npz cannot be read" in refused(tmp_path, "{file: a.npz}")
        np.save(tmp_path / "x.npy", images())
        (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:keep])
        np.save(tmp_path / "y.npy", LABELS)
        assert "x.npy cannot be read" in refused(tmp_path, "{file: x.npy, labels: y.npy}")

    def test_objects_are_refused(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=images(), y=np.array([object()] * 30))
        assert "cannot be read: Object arrays cannot be loaded" in refused(tmp_path, "{file: a.npz}")

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"x": images()[:, :4], "y": LABELS}, "the images are 30x4x5, but n x 6x5x1 is needed"),
            ({"x": images(), "y": LABELS[:9]}, "there are 30 images, but 9 labels"),
            ({"x": images(), "z": LABELS}, "has the arrays x, z: which are the images, which the labels?"),
            ({"x": images(), "y": LABELS + 1}, "10 labels are outside of the classes 0 to 2, the first 3 (label 2)"),
            ({"x": images(), "y": LABELS - 0.5}, "labels are outside of the classes 0 to 2, the first -0.5 (label 0)"),
            ({"x": images(), "y": np.eye(4)[LABELS]}, "tells 4 classes apart, the network 3"),
            ({"x": images(), "y": np.ones((30, 3))}, "label 0 is not one 1 among zeros"),
            ({"x": images() * np.float32("nan"), "y": LABELS}, "30 of 30 images hold values that are not finite"),
            ({"x": images().astype(str), "y": LABELS}, "the images hold <U3, no numbers"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit(self, tmp_path, arrays, message):
        np.savez(tmp_path / "a.npz", **arrays)
        assert message in refused(tmp_path, "{file: a.npz}")

    def test_a_word_that_is_no_class(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=images(), y=np.array(["ant", "bee", "flyy"])[LABELS])
        said = refused(tmp_path, "{file: a.npz}\nclasses: [ant, bee, fly]")
        assert "10 labels are outside of the classes, the first 'flyy' (label 2)" in said
        assert "did you mean 'fly'?" in said

    def test_the_same_file_twice_and_a_file_that_is_not_here(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=images(), y=LABELS)
        assert "the splits overlap: test and train are the same file" in refused(
            tmp_path, "{file: a.npz, test: ./a.npz}"
        )
        said = refused(tmp_path, "{file: aa.npz}")
        assert "there is no file 'aa.npz': looked for as" in said
        assert "did you mean 'a.npz'?" in said


CSV = "width,height,kind\n" + "".join(f"{k},{2 * k}.5,{'abc'[k % 3]}\n" for k in range(30))


class TestTables:
    def test_columns_become_features_and_words_classes(self, tmp_path):
        (tmp_path / "t.csv").write_text(CSV)
        dataset = read(tmp_path, "{file: t.csv, labels: kind}", TABLE)
        assert dataset.classes == ("a", "b", "c")
        assert dataset.train.images.dtype == np.float32
        rows = np.concatenate([dataset.train.images, dataset.validation.images])
        np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], [[k, 2 * k + 0.5] for k in range(30)])
        labels = np.concatenate([dataset.train.labels, dataset.validation.labels])
        np.testing.assert_array_equal(labels, rows[:, 0].astype(int) % 3)

    def test_the_names_of_classes_travel_into_the_network(self, tmp_path):
        (tmp_path / "t.csv").write_text(CSV)
        (tmp_path / "x.yaml").write_text(f"{TABLE}data: {{file: t.csv, labels: kind}}\n")
        code = (
            "import sys; from netspec.spec.load import load_spec; from netspec.compile import compile_spec; "
            "print(compile_spec(load_spec(sys.argv[1])).classes, 'numpy' in sys.modules)"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "x.yaml")]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "('a', 'b', 'c') False\n"

    def test_standardised_by_the_rows_that_are_trained_on(self, tmp_path):
        (tmp_path / "t.csv").write_text(CSV)
        plain = read(tmp_path, "{file: t.csv, labels: kind}", TABLE)
        dataset = read(tmp_path, "{file: t.csv, labels: kind, standardise: true}", TABLE)
        np.testing.assert_allclose(dataset.train.images.mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(dataset.train.images.std(0), 1, atol=1e-6)
        mean, deviation = np.array(dataset.scale).T
        np.testing.assert_allclose(dataset.validation.images, (plain.validation.images - mean) / deviation, rtol=1e-6)

    def test_columns_are_chosen_and_tabs_separate(self, tmp_path):
        rows = [line.split(",") for line in CSV.splitlines()]
        (tmp_path / "t.tsv").write_text("".join("\t".join(["name", *row]) + "\n" for row in rows))
        dataset = read(tmp_path, "{file: t.tsv, labels: kind, inputs: [height, width]}", TABLE)
        assert (dataset.train.images[:, 0] == 2 * dataset.train.images[:, 1] + 0.5).all()

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("5,10.5,c", "5,nan,c", "t.csv, line 7: height is 'nan', no finite number"),
            ("5,10.5,c", ",10.5,c", "t.csv, line 7: width is empty"),
            ("5,10.5,c", "5,much,c", "t.csv, line 7: height is 'much', no finite number"),
            ("5,10.5,c", "5,10.5,", "t.csv, line 7: kind is empty"),
            ("5,10.5,c", "5,10.5", "t.csv, line 7: 2 cells, but the first line names 3 columns"),
            ("5,10.5,c", "5,10.5,d", "has 4 classes, but the output is 3"),
            ("width,height", "width,width", "has several columns called 'width'"),
            ("kind", "kinds", "has no column 'kind'"),
        ],
    )
    def test_wrong_cells_are_named(self, tmp_path, old, new, message):
        (tmp_path / "t.csv").write_text(CSV.replace(old, new, 1))
        assert message in refused(tmp_path, "{file: t.csv, labels: kind}", TABLE)

    def test_many_wrong_cells_are_counted(self, tmp_path):
        (tmp_path / "t.csv").write_text(CSV.replace(".5,", ".5x,"))
        said = refused(tmp_path, "{file: t.csv, labels: kind}", TABLE)
        assert said.count("no finite number") == 5
        assert "30 cells of" in said

    def test_empty_and_strange_files(self, tmp_path):
        for content, message in ((b"", "has no rows"), (b"a,b\n", "has no rows"), (b"a,\xff\n1,2\n", "cannot be read")):
            (tmp_path / "t.csv").write_bytes(content)
            assert message in refused(tmp_path, "{file: t.csv, labels: kind}", TABLE)

    def test_as_many_columns_as_the_input_has_numbers(self, tmp_path):
        (tmp_path / "t.csv").write_text(CSV)
        said = refused(tmp_path, "{file: t.csv, labels: kind}", TABLE.replace("input: 2", "input: 4"))
        assert "has 2 columns beside 'kind', but the input is 4" in said
        said = refused(tmp_path, "{file: t.csv, labels: kind}")
        assert "a row of a table is a list of numbers, but the input is 6x5x1" in said

    def test_parquet(self, tmp_path):
        pytest.importorskip("pyarrow")
        from pyarrow import csv, parquet

        parquet.write_table(csv.read_csv(io.BytesIO(CSV.encode())), tmp_path / "t.parquet")
        (tmp_path / "t.csv").write_text(CSV)
        ours, theirs = (
            read(tmp_path, f"{{file: {name}, labels: kind}}\nclasses: [a, b, c]", TABLE)
            for name in ("t.parquet", "t.csv")
        )
        np.testing.assert_array_equal(ours.train.images, theirs.train.images)
        np.testing.assert_array_equal(ours.train.labels, theirs.train.labels)
        (tmp_path / "t.parquet").write_bytes(b"PAR1 and no more")
        assert "t.parquet cannot be read" in refused(tmp_path, "{file: t.parquet, labels: kind}", TABLE)

    def test_parquet_without_pyarrow(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        (tmp_path / "t.parquet").write_bytes(b"PAR1")
        with pytest.raises(BackendError, match="pip install pyarrow"):
            read(tmp_path, "{file: t.parquet, labels: kind}", TABLE)


class TestCache:
    def store(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=images(), y=LABELS)
        return tmp_path / "cache"

    def test_the_second_time_nothing_is_decoded(self, tmp_path, monkeypatch):
        folder = self.store(tmp_path)
        first = read(tmp_path, "{file: a.npz}")
        monkeypatch.setattr("netspec.data.arrays.read_arrays", None)
        again = read(tmp_path, "{file: a.npz}")
        np.testing.assert_array_equal(first.train.images, again.train.images)
        assert isinstance(again.train.images, np.memmap)
        kept = sorted(path.name for path in (folder / "arrays").iterdir())
        assert all(path == f"{caching.sha256(folder / 'arrays' / path)}.npy" for path in kept)
        assert len(kept) == 4

    def test_other_data_under_the_same_name_are_other_data(self, tmp_path):
        self.store(tmp_path)
        first = read(tmp_path, "{file: a.npz}")
        np.savez(tmp_path / "a.npz", x=images() + 1, y=LABELS)
        second = read(tmp_path, "{file: a.npz}")
        np.testing.assert_array_equal(first.train.images + 1, second.train.images)

    @pytest.mark.parametrize("harm", ["change", "cut", "remove"])
    def test_what_was_changed_is_decoded_again(self, tmp_path, harm):
        folder = self.store(tmp_path)
        wanted = np.array(read(tmp_path, "{file: a.npz}").train.images)
        for path in (folder / "arrays").iterdir():
            content = path.read_bytes()
            if harm == "remove":
                path.unlink()
            else:
                path.write_bytes(content[:-1] + (bytes([content[-1] ^ 1]) if harm == "change" else b""))
        np.testing.assert_array_equal(read(tmp_path, "{file: a.npz}").train.images, wanted)
        [index] = (folder / "decoded").iterdir()
        index.write_text(json.dumps({"splits": 3}))
        np.testing.assert_array_equal(read(tmp_path, "{file: a.npz}").train.images, wanted)

    def test_a_cache_that_cannot_be_written_stops_nothing(self, tmp_path, monkeypatch):
        self.store(tmp_path)
        (tmp_path / "a file").write_text("x")
        monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "a file"))
        dataset = read(tmp_path, "{file: a.npz}")
        assert len(dataset.train) == 27
        assert not isinstance(dataset.train.images, np.memmap)

    def test_a_disk_that_is_full_stops_nothing(self, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        self.store(tmp_path)
        monkeypatch.setattr(caching.np, "save", full)
        dataset = read(tmp_path, "{file: a.npz}")
        assert len(dataset.train) == 27
        monkeypatch.setattr(caching.os, "posix_fallocate", full)
        array = caching._Files(tmp_path)((3, 4), np.uint8)
        assert array.shape == (3, 4)
        assert not isinstance(array, np.memmap)

    def test_mapped_arrays_are_not_sent_to_other_processes(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=np.repeat(images(), 200, axis=0), y=np.repeat(LABELS, 200))
        dataset = read(tmp_path, "{file: a.npz}")
        sent = pickle.dumps(dataset, protocol=5)
        assert len(sent) < 2000
        assert dataset.train.images.nbytes > 100_000
        received = pickle.loads(sent)
        np.testing.assert_array_equal(received.train.images, dataset.train.images)
        part = Split(dataset.train.images[3:7], dataset.train.labels[3:7])  # a part of a file is no file
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(part)).images, part.images)
        assert received.train.images.flags.writeable  # as torch wants it, though nothing reaches the file
        received.train.images[0] = 0
        assert read(tmp_path, "{file: a.npz}").train.images[0].any()


class TestHub:
    """Against the package itself, where it is installed."""

    @pytest.fixture
    def photos(self, tmp_path):
        pytest.importorskip("datasets")
        image = pytest.importorskip("PIL.Image")
        for split, count in (("train", 20), ("test", 4)):
            for at, name in enumerate(("ant", "bee", "fly")):
                folder = tmp_path / "photos" / split / name
                folder.mkdir(parents=True)
                for k in range(count):
                    value = 40 * at + k + (7 if split == "test" else 0)
                    image.fromarray(np.full((12, 10), value, np.uint8)).save(folder / f"{k}.png")
        return tmp_path

    def test_images_of_a_folder(self, photos):
        dataset = read(photos, "{hf: photos}\nclasses: [ant, bee, fly]")
        assert dataset.classes == ("ant", "bee", "fly")
        assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (54, 6, 12)
        assert dataset.test.images[5].max() == 48
        assert dataset.test.labels[5] == 1

    def test_the_classes_have_to_be_named(self, photos):
        assert "hint: classes: [ant, bee, fly]" in refused(photos, "{hf: photos}")
        assert "class 0 of the data set photos is 'ant'" in refused(photos, "{hf: photos}\nclasses: [bee, ant, fly]")

    def test_what_is_not_there(self, photos):
        classes = "\nclasses: [ant, bee, fly]"
        assert "has no split 'dev'" in refused(photos, "{hf: photos, validation: dev}" + classes)
        assert "has no column 'picture'" in refused(photos, "{hf: photos, inputs: picture}" + classes)
        assert "nowhere cannot be loaded: " in refused(photos, "{hf: nowhere}" + classes)

    def test_broken_images(self, photos):
        (photos / "photos/train/bee/3.png").write_bytes(b"no image")
        said = refused(photos, "{hf: photos}\nclasses: [ant, bee, fly]")
        assert "3.png is no image" in said
        assert "1 image cannot be used" in said
        dataset = read(photos, "{hf: photos, skip_broken: true}\nclasses: [ant, bee, fly]")
        assert len(dataset.train) + len(dataset.validation) == 59
        assert len(dataset.skipped) == 1


def test_the_hub_needs_its_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(BackendError, match="pip install datasets"):
        read(tmp_path, "{hf: ylecun/mnist}")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"file": "x.txt"}, "none of .npz, .npy, .csv, .tsv, .parquet"),
        ({"file": "x.npy"}, "`labels: labels.npy` names the file"),
        ({"file": "x.csv"}, "which column of x.csv is the class?"),
        ({"file": "x.npz", "hf": "y"}, "data has one origin, but file is x.npz and hf is y"),
        ({"folder": "x", "standardise": True}, "standardise belongs to file; the folder x has none"),
        ({"file": "x.npz", "standardise": True}, "standardise is for the columns of a table"),
        ({"source": "digits", "labels": "y"}, "labels belongs to file and hf; digits has none"),
        ({"file": "x.npz", "sha256": "abc"}, "should match pattern"),
    ],
)
def test_settings_that_contradict_each_other(wrong, message):
    with pytest.raises(ValidationError, match=message.replace("?", r"\?")):
        DataSettings.model_validate(wrong)


def test_batches_are_no_larger_than_the_data(tmp_path):
    from netspec.data.batches import check_batch_size

    check_batch_size(30, 30)
    with pytest.raises(SpecError, match="a batch of 31 images is larger than the 30 that there are to train on"):
        check_batch_size(31, 30)


def test_a_spec_says_the_classes_of_a_known_set():
    spec = parse_spec("input: 8x8x1\nlayers:\n  - Flatten\n  - FNN | 10 | Softmax\ndata: digits\n", "x.yaml")
    assert compile_spec(spec).classes == tuple("0123456789")


def test_what_is_wrong_with_data_has_its_place_in_the_spec(tmp_path):
    from netspec.building.build import build
    from netspec.building.options import Options

    np.savez(tmp_path / "a.npz", x=images(), y=LABELS)
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\n{IMAGES}data: {{file: a.npz}}\ntrain: {{epochs: 1, batch_size: 40}}\n")
    with pytest.raises(SpecError, match=r"x\.yaml:7:32: train\.batch_size: a batch of 40 images is larger than the 27"):
        build(load_spec(path), Options(until="train", folder=tmp_path / "build"), lambda event, **values: None)
    (tmp_path / "a.npz").unlink()
    with pytest.raises(SpecError, match=r"x\.yaml:6:14: data\.file: there is no file 'a\.npz'"):
        build(load_spec(path), Options(until="train", folder=tmp_path / "build"), lambda event, **values: None)
