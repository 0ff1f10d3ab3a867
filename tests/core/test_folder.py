"""Folders of images: where they are found, what their classes are, and everything that may be wrong with them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from netspec.compile import compile_spec
from netspec.data import DataSettings, Preprocess, load
from netspec.data import folder as folders
from netspec.data.folder import fingerprint
from netspec.errors import SpecError
from netspec.network import Network
from netspec.spec.load import load_spec, parse_spec
from netspec.spec.model import Spec

Image = pytest.importorskip("PIL.Image")
COLOURS = {"ant": (200, 0, 0), "bee": (0, 200, 0), "fly": (0, 0, 200)}
SPEC = "input: 8x8x3\nlayers:\n  - Flatten\n  - FNN | 2 | Softmax\ndata: {folder: photos}\n"


calls = count()


def fill(folder: Path, counts: dict[str, int]) -> Path:
    """Images of one colour a class, the k-th with k in a corner, no two alike; 10 rows of 12 columns."""
    call = next(calls) % 256
    for name, images in counts.items():
        (folder / name).mkdir(parents=True)
        for k in range(images):
            pixels = np.full((10, 12, 3), COLOURS[name], np.uint8)
            pixels[1, 2] = k
            pixels[9, 11] = call
            Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture(autouse=True)
def no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETSPEC_DATA", raising=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """photos/train with 6 ants and 4 bees, photos/val with 2 and 3; a spec beside it."""
    (tmp_path / "x.yaml").write_text(SPEC)
    fill(tmp_path / "photos/train", {"bee": 4, "ant": 6})
    fill(tmp_path / "photos/val", {"ant": 2, "bee": 3})
    return tmp_path / "photos"


def network(spec: Spec) -> Network:
    return compile_spec(spec)


def read(near: Path, *overrides: str):
    spec = load_spec(near / "x.yaml", overrides)
    assert spec.data is not None
    return load(spec.data, network(spec), near, spec.preprocess)


def test_what_tools_leave_behind_is_no_image(photos):
    for left in (".ipynb_checkpoints/0-checkpoint.png", "__MACOSX/ant/0.png", "inside/.thumbnails/0.png", "._0.png"):
        path = photos / "train/ant" / left
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((photos / "train/ant/0.png").read_bytes())
    assert len(read(photos.parent).train) == 10


def test_folders_called_train_and_val(photos):
    dataset = read(photos.parent)
    assert dataset.classes == ("ant", "bee")
    assert dataset.train.labels.tolist() == [0] * 6 + [1] * 4
    assert dataset.validation.labels.tolist() == [0] * 2 + [1] * 3
    assert dataset.test is None
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.images.shape == (10, 8, 8, 3)
    assert dataset.train.images[7, 4, 4].tolist() == [0, 200, 0]


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_other_names_and_a_folder_for_the_test(photos, name):
    (photos / "val").rename(photos / name)
    fill(photos / "test", {"ant": 1, "bee": 1})
    dataset = read(photos.parent)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (10, 5, 2)


def test_one_folder_is_split_class_by_class(tmp_path):
    (tmp_path / "x.yaml").write_text(SPEC)
    fill(tmp_path / "photos", {"ant": 20, "bee": 10})
    dataset = read(tmp_path, "data.validation_split=0.2")
    assert np.bincount(dataset.train.labels).tolist() == [16, 8]
    assert np.bincount(dataset.validation.labels).tolist() == [4, 2]


def test_train_without_val_is_split_too(photos):
    for path in sorted((photos / "val").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (photos / "val").rmdir()
    dataset = read(photos.parent, "data.validation_split=0.5")
    assert (len(dataset.train), len(dataset.validation)) == (5, 5)


def test_folders_that_the_section_names(photos):
    fill(photos.parent / "more", {"ant": 1, "bee": 2})
    data = "data={folder: photos/train, validation: photos/val, test: more}"
    dataset = read(photos.parent, data)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (10, 5, 3)


def test_a_class_may_be_called_train(tmp_path):
    (tmp_path / "x.yaml").write_text(SPEC)
    fill(tmp_path / "photos", {"ant": 10, "bee": 10})
    (tmp_path / "photos/bee").rename(tmp_path / "photos/train")
    assert load_spec(tmp_path / "x.yaml").classes == ("ant", "train")


def test_beside_the_spec_first_then_in_the_data_folder(photos, tmp_path, monkeypatch):
    elsewhere = tmp_path / "specs"
    elsewhere.mkdir()
    (elsewhere / "x.yaml").write_text(SPEC)
    with pytest.raises(SpecError, match=r"no folder 'photos': looked for as .*specs/photos and in NETSPEC_DATA, which"):
        read(elsewhere)
    monkeypatch.setenv("NETSPEC_DATA", str(tmp_path))
    assert len(read(elsewhere).train) == 10
    fill(elsewhere / "photos", {"ant": 20, "bee": 20})
    assert len(read(elsewhere).train) == 36


def test_pictures_are_resized_and_cropped_and_stay_bytes(photos):
    whole = read(photos.parent, "preprocess={crop: 8, scale: 1/255, channels: bgr}")
    # Of 10 rows and 12 columns the middle 8 begin at 1 and 2, where every image has its number.
    assert whole.train.images[:, 0, 0, 0].tolist() == [*range(6), *range(4)]
    assert whole.train.images[0, 5, 5].tolist() == [200, 0, 0]


def test_the_classes_travel_into_the_network(photos):
    assert network(load_spec(photos.parent / "x.yaml")).classes == ("ant", "bee")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("[bee, ant]", "class 0 of the folder photos is 'ant', but here it is 'bee'"),
        ("[ant, wasp]", "class 1 of the folder photos is 'bee', but here it is 'wasp'"),
        ("[ant]", "class 1 of the folder photos is 'bee', but here it has no name"),
        ("[ant, bee, fly]", "class 2 of the folder photos is none, but here it is 'fly'"),
    ],
)
def test_a_conflict_names_both_classes(photos, classes, message):
    path = photos.parent / "x.yaml"
    path.write_text(f"{SPEC}classes: {classes}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert message in str(caught.value)
    assert "x.yaml:6:10: classes" in str(caught.value)


def test_classes_and_outputs_must_be_as_many(photos):
    fill(photos / "train", {"fly": 1})
    fill(photos / "val", {"fly": 1})
    with pytest.raises(SpecError, match="the folder photos has 3 classes, but the output is 2"):
        network(load_spec(photos.parent / "x.yaml"))
    network(load_spec(photos.parent / "x.yaml", ["layers.1.units=3"]))


def test_a_spec_is_checked_without_its_data(tmp_path):
    assert network(parse_spec(SPEC, str(tmp_path / "x.yaml"))).classes == ()
    with pytest.raises(SpecError, match="a picture is height x width x 3 or x 1, but the input is 100"):
        network(parse_spec(SPEC.replace("8x8x3", "100"), str(tmp_path / "x.yaml")))


def test_what_is_no_image_is_passed_over(photos):
    for junk in ("notes.txt", ".hidden.png", "Thumbs.db"):
        (photos / "train/ant" / junk).write_text("x")
    (photos / "train/.cache").mkdir()
    (photos / "train/bee/more").mkdir()
    Image.new("RGB", (3, 3)).save(photos / "train/bee/more/deep.JPG", "jpeg")
    dataset = read(photos.parent)
    assert np.bincount(dataset.train.labels).tolist() == [6, 5]


def test_empty_classes_are_named(photos):
    for path in (photos / "train/bee").iterdir():
        path.unlink()
    with pytest.raises(SpecError, match="train/bee holds no images, so the class 'bee' has none"):
        read(photos.parent)


def test_splits_have_the_same_classes(photos):
    fill(photos / "val", {"fly": 1})
    with pytest.raises(SpecError, match=r"train has no folder 'fly', which .*val has"):
        read(photos.parent)


def test_a_folder_without_folders(tmp_path):
    (tmp_path / "x.yaml").write_text(SPEC)
    (tmp_path / "photos").mkdir()
    with pytest.raises(SpecError, match=r"x\.yaml:5:16: data\.folder: .*photos holds no folders"):
        load_spec(tmp_path / "x.yaml")
    Image.new("RGB", (3, 3)).save(tmp_path / "photos/a.png")
    with pytest.raises(SpecError, match="photos holds 1 image and no folders"):
        load_spec(tmp_path / "x.yaml")


def test_broken_images_are_named_and_counted(photos):
    (photos / "train/ant/1.png").write_bytes(b"no image")
    whole = (photos / "val/bee/2.png").read_bytes()
    (photos / "val/bee/2.png").write_bytes(whole[:60])
    with pytest.raises(SpecError) as caught:
        read(photos.parent)
    said = str(caught.value)
    assert "train/ant/1.png is no image" in said
    assert "val/bee/2.png cannot be decoded" in said
    assert "2 of 15 images cannot be used" in said


def test_only_the_first_of_many_broken_images_are_named(photos):
    for path in photos.rglob("*.png"):
        path.write_bytes(b"no image " + str(path).encode())
    with pytest.raises(SpecError) as caught:
        read(photos.parent)
    assert len(caught.value.problems) == folders.NAMED + 1
    assert "15 of 15 images cannot be used" in str(caught.value)


def test_broken_images_are_left_out_where_the_spec_says_so(photos):
    (photos / "train/ant/1.png").write_bytes(b"no image")
    (photos / "val/bee/2.png").write_bytes(b"neither")
    dataset = read(photos.parent, "data.skip_broken=true")
    assert np.bincount(dataset.train.labels).tolist() == [5, 4]
    assert dataset.train.images[:, 1, 1].tolist() != [[0, 0, 0]] * 9
    assert (len(dataset.validation), len(dataset.train.images)) == (4, 9)
    assert [Path(said.split(" is ")[0]).name for said in dataset.skipped] == ["1.png", "2.png"]
    again = read(photos.parent, "data.skip_broken=true")  # from the cache
    assert again.skipped == dataset.skipped


def test_a_class_of_which_all_are_broken_is_an_error(photos):
    for path in (photos / "train/bee").iterdir():
        path.write_bytes(b"no image " + str(path).encode())
    with pytest.raises(SpecError, match="of 'bee' no image of train could be decoded"):
        read(photos.parent, "data.skip_broken=true")


def test_an_image_in_two_splits_is_an_error(photos):
    shutil.copy(photos / "train/ant/1.png", photos / "val/ant/copy.png")
    (photos / "val/bee/link.png").symlink_to(photos / "train/bee/0.png")
    with pytest.raises(SpecError) as caught:
        read(photos.parent)
    said = str(caught.value)
    assert "train/ant/1.png of train and" in said
    assert "val/bee/link.png of validation are the same image" in said
    assert "the splits overlap: 2 images are in two of them" in said
    with pytest.raises(SpecError, match="the splits overlap: 10 images"):
        read(photos.parent, "data={folder: photos/train, validation: photos/train}")


def test_more_than_the_memory_is_refused_before_decoding(photos, monkeypatch):
    monkeypatch.setattr(folders, "memory_available", lambda: 1000)
    with pytest.raises(SpecError, match=r"15 images of 8x8x3 need 2\.8 kB of memory, 1000 bytes are available"):
        read(photos.parent)


def test_the_fingerprint_follows_the_files(photos):
    settings = DataSettings(folder="photos")
    before = fingerprint(settings, photos.parent)
    assert fingerprint(settings, photos.parent) == before
    (photos / "val/ant/0.png").rename(photos / "val/ant/zero.png")
    renamed = fingerprint(settings, photos.parent)
    Image.new("RGB", (30, 30)).save(photos / "val/ant/zero.png")
    assert len({before, renamed, fingerprint(settings, photos.parent)}) == 3


@pytest.mark.parametrize(
    "wrong",
    [{}, {"source": "digits", "folder": "photos"}, {"source": "digits", "test": "photos"}, {"validation": "photos"}],
)
def test_data_have_one_origin(wrong):
    with pytest.raises(ValidationError):
        DataSettings.model_validate(wrong)


def test_folders_are_listed_without_numpy_or_pillow(photos):
    code = (
        "import sys; from netspec.spec.load import load_spec; from netspec.compile import compile_spec; "
        "print(compile_spec(load_spec(sys.argv[1])).classes, {'numpy', 'PIL'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(photos.parent / "x.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('ant', 'bee') set()"


def test_gray_inputs_get_gray_pictures(photos):
    spec = load_spec(photos.parent / "x.yaml", ["input=8x8x1"])
    assert spec.data is not None
    dataset = load(spec.data, network(spec), photos.parent, Preprocess())
    assert dataset.train.images[0, 5, 5].tolist() == [60]  # 0.299 * 200
