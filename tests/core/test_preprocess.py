"""How a picture becomes numbers: sizes, the middle, channels, scaling, and files that are no pictures."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from netspec.compile import compile_spec
from netspec.compile.resolved import resolved_spec
from netspec.data.preprocess import Preprocess, read_image
from netspec.errors import SpecError
from netspec.spec.load import load_spec, parse_spec
from netspec.spec.write import write_yaml
from netspec.tensors import TensorType

Image = pytest.importorskip("PIL.Image")
DATA = os.environ.get("NETSPEC_DATA")
TORCHVISION = "{resize: 256, crop: 224, scale: 1/255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}"


def ramp(height: int, width: int) -> np.ndarray:
    """Every pixel says where it is: its row in red, its column in green, 7 in blue."""
    pixels = np.full((height, width, 3), 7, np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(height)[:, None], np.arange(width)
    return pixels


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """20 rows, 11 columns."""
    path = tmp_path / "ramp.png"
    Image.fromarray(ramp(20, 11)).save(path)
    return path


def section(text: str, shape: str = "224x224x3") -> Preprocess:
    spec = parse_spec(f"input: {shape}\nlayers:\n  - Flatten\npreprocess: {text}\n", "x.yaml")
    compile_spec(spec)
    assert spec.preprocess is not None
    return spec.preprocess


def test_the_section_is_read_as_cells_are():
    read = section(TORCHVISION)
    assert (read.resize, read.crop, read.scale) == (256, 224, 1 / 255)
    assert read.mean == (0.485, 0.456, 0.406)
    assert section("{resize: 256x300, crop: 224x224, std: 1/4, channels: BGR}") == Preprocess(
        resize=(256, 300), crop=(224, 224), std=(0.25,), channels="bgr"
    )
    assert section("{resize: [9, 8], channels: greyscale}", "8x8x1").channels == "gray"


def test_a_resolved_spec_says_the_same():
    spec = parse_spec(f"input: 224x224x3\nlayers:\n  - Flatten\npreprocess: {TORCHVISION}\n", "x.yaml")
    again = parse_spec(write_yaml(resolved_spec(spec)), "x.yaml")
    assert again.preprocess == spec.preprocess


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("", "{resize: 256, crop: 224, scale: 1/255}"),
        ("input: 224x224x3\n", "{resize: 256, crop: 224, scale: 1/255}"),
        ("input: 160x160x3\n", "{scale: 1/255}"),  # the base's sizes are meant for its own input
        ("preprocess: {mean: 1}\n", "{mean: 1}"),
        ("preprocess: {}\n", "{}"),
    ],
)
def test_a_spec_has_the_preprocessing_of_its_base(tmp_path, written, found):
    trunk = "input: 224x224x3\nlayers:\n  - CNN | 2, 3, stride=8\n  - GlobalAvgPool\n"
    trunk += "variants:\n  own:\n    preprocess: {resize: 256, crop: 224, scale: 1/255}\n"
    (tmp_path / "trunk.yaml").write_text(trunk, encoding="utf-8")
    (tmp_path / "plain.yaml").write_text("base: {spec: trunk.yaml}\n", encoding="utf-8")
    assert load_spec(tmp_path / "plain.yaml").preprocess is None
    path = tmp_path / "x.yaml"
    path.write_text(f"{written}base: {{spec: trunk.yaml, variant: own}}\nlayers: [FNN | 2]\n", encoding="utf-8")
    spec = load_spec(path)
    compile_spec(spec)
    assert spec.preprocess == section(found)
    assert parse_spec(write_yaml(resolved_spec(spec)), "x.yaml").preprocess == spec.preprocess


def test_rows_before_those_of_the_base_read_pictures_otherwise(tmp_path):
    trunk = "input: 32x32x3\nlayers:\n  - CNN | 2, 3\npreprocess: {scale: 1/255}\n"
    (tmp_path / "trunk.yaml").write_text(trunk, encoding="utf-8")
    path = tmp_path / "x.yaml"
    path.write_text("input: 32x32x1\nbase: {spec: trunk.yaml}\nlayers: ['CNN | 3, 1', base]\n", encoding="utf-8")
    assert load_spec(path).preprocess is None


def test_preprocessing_of_a_base_that_does_not_fit_is_said_where_the_base_is(tmp_path):
    trunk = "input: 32x32x3\nlayers:\n  - CNN | 2, 3\npreprocess: {mean: [1, 2, 3]}\n"
    (tmp_path / "trunk.yaml").write_text(trunk, encoding="utf-8")
    path = tmp_path / "x.yaml"
    path.write_text("input: 32x32x1\nbase: {spec: trunk.yaml}\n", encoding="utf-8")
    with pytest.raises(
        SpecError, match=r"x.yaml:2:7: preprocess.mean: mean has 3 numbers, but the input 32x32x1 has 1"
    ):
        compile_spec(load_spec(path))


def test_bytes_are_read_as_they_are(picture):
    read = read_image(picture, TensorType((20, 11, 3)), None)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, ramp(20, 11))


def test_the_middle_is_cut_and_the_odd_pixel_stays_below_and_right(picture):
    read = read_image(picture, TensorType((5, 4, 3)), Preprocess(crop=(5, 4)))
    np.testing.assert_array_equal(read, ramp(20, 11)[7:12, 3:7])


def test_the_shorter_side_is_resized_and_the_longer_one_rounded(picture):
    # 20 rows of 11 columns become 15 (14.55) of 8, of which the middle 8 are rows 3 to 10.
    read = read_image(picture, TensorType((8, 8, 3)), Preprocess(resize=8))
    whole = np.asarray(Image.fromarray(ramp(20, 11)).resize((8, 15), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(read, whole[3:11])


def test_without_sizes_the_whole_picture_is_brought_to_the_input(picture):
    whole = Image.fromarray(ramp(20, 11))
    given = TensorType((6, 9, 3))
    np.testing.assert_array_equal(
        read_image(picture, given, None), np.asarray(whole.resize((9, 6), Image.Resampling.BILINEAR))
    )
    nearest = read_image(picture, given, Preprocess(interpolation="nearest"))
    np.testing.assert_array_equal(nearest, np.asarray(whole.resize((9, 6), Image.Resampling.NEAREST)))


def test_smaller_pictures_average_what_they_cover(tmp_path):
    stripes = np.zeros((4, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    read = read_image(tmp_path / "stripes.png", TensorType((4, 8, 3)), Preprocess(resize=(4, 8)))
    assert np.abs(read - 100).max() <= 7  # without antialiasing every pixel would be one stripe, or half of two


def test_channels_and_statistics_go_together(picture):
    given = TensorType((20, 11, 3))
    settings = Preprocess(channels="bgr", scale=0.5, mean=(1, 2, 3), std=(2, 4, 8))
    read = read_image(picture, given, settings)
    expected = (ramp(20, 11)[..., ::-1].astype(np.float64) * 0.5 - [1, 2, 3]) / [2, 4, 8]
    np.testing.assert_allclose(read, expected, rtol=1e-6)
    one = read_image(picture, given, Preprocess(mean=(7,), std=(2,)))
    np.testing.assert_array_equal(one, (ramp(20, 11) - 7.0) / 2)


@pytest.mark.parametrize(
    ("mode", "channels", "expected"),
    [
        ("RGB", 1, 76),  # luma of pure red, 0.299 * 255
        ("L", 3, 76),
        ("RGBA", 3, None),
        ("P", 3, None),
        ("CMYK", 3, None),
        ("1", 1, None),
        ("I;16", 1, None),
    ],
)
def test_other_modes_become_the_inputs_channels(tmp_path, mode, channels, expected):
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    if mode == "I;16":
        Image.fromarray(np.full((4, 4), 76 * 256 + 200, np.uint16)).save(tmp_path / "x.png")
        expected = 76
    else:
        red.convert(mode).save(tmp_path / ("x.tiff" if mode == "CMYK" else "x.png"))
    [path] = tmp_path.iterdir()
    read = read_image(path, TensorType((4, 4, channels)), None)
    assert read.shape == (4, 4, channels)
    if expected is not None:
        np.testing.assert_array_equal(read, expected)
    elif mode != "1":
        np.testing.assert_array_equal(read[0, 0], [255, 0, 0])


def test_files_that_are_no_pictures(tmp_path):
    given = TensorType((4, 4, 3))
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(SpecError, match=r"notes\.jpg is no image"):
        read_image(tmp_path / "notes.jpg", given, None)
    with pytest.raises(SpecError, match=r"(?s)there is no image .*note\.jpg.*did you mean 'notes\.jpg'"):
        read_image(tmp_path / "note.jpg", given, None)
    with pytest.raises(SpecError, match="cannot be decoded"):
        read_image(tmp_path, given, None)
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("cut.jpg", "cut.png"):
        Image.fromarray(noise).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(SpecError, match=rf"{name} cannot be decoded: .*truncated"):
            read_image(tmp_path / name, given, None)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_never_raise_anything_else(tmp_path):
    noise = np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    random = np.random.default_rng(3)
    for name in ("x.png", "x.jpg", "x.gif", "x.webp", "x.tiff", "x.bmp"):
        Image.fromarray(noise).save(tmp_path / name)
        content = np.frombuffer((tmp_path / name).read_bytes(), np.uint8)
        for _ in range(30):
            damaged = content.copy()
            damaged[random.integers(0, len(content), 4)] = random.integers(0, 256, 4)
            (tmp_path / name).write_bytes(damaged.tobytes())
            with suppress(SpecError):
                assert read_image(tmp_path / name, TensorType((8, 8, 3)), None).shape == (8, 8, 3)


def test_pictures_too_small_or_too_long_are_named_with_both_sizes(picture, tmp_path):
    with pytest.raises(SpecError, match=r"ramp\.png is 20x11, too small to cut 12x12 from it"):
        read_image(picture, TensorType((12, 12, 3)), Preprocess(crop=12))
    Image.new("L", (30000, 1)).save(tmp_path / "line.png")
    with pytest.raises(SpecError, match=r"line\.png is 1x30000, which resize makes 256x7680000"):
        read_image(tmp_path / "line.png", TensorType((224, 224, 3)), Preprocess(resize=256))


# Those whose order changes when the crop or the longer side is off by one pixel.
PARTICULAR = (
    "cat_egyptian.jpg",
    "n01514668_cock.jpg",
    "n02099601_golden_retriever.jpg",
    "n02701002_ambulance.jpg",
)


@pytest.mark.skipif(DATA is None, reason="NETSPEC_DATA names no folder")
def test_photographs_are_recognised_as_the_reference_does():
    """Both the weights and the five best classes of every photograph are published; see `expected.json`."""
    from netspec.importing import load_weights
    from netspec.reference import evaluate

    assert DATA is not None
    spec = load_spec(Path(__file__).parents[2] / "specs/squeezenet-1.1.yaml", variant="torchvision")
    network = compile_spec(spec)
    weights = load_weights(Path(DATA) / "weights/squeezenet1_1-torchvision.safetensors", network)
    expected = json.loads((Path(DATA) / "images/expected.json").read_text())
    for name in PARTICULAR:
        image = read_image(Path(DATA) / "images" / name, network.input_type, spec.preprocess)
        scores = evaluate(network, weights, {"input": image[None]})[network.rows[-1].name].ravel()
        assert np.argsort(-scores)[:5].tolist() == expected[name]["reference_top5"], name
