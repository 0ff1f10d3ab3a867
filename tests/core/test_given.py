"""What is given to a network: arrays and pictures, and what is wrong with them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from netspec.compile import compile_spec
from netspec.data import given
from netspec.data.given import Samples, array_samples, read_samples
from netspec.data.preprocess import Preprocess, read_image
from netspec.errors import SpecError
from netspec.network import Network
from netspec.spec.load import parse_spec

ONE = compile_spec(parse_spec("input: 4x5x3\nlayers:\n  - Flatten\n", "one.yaml"))
TWO = compile_spec(
    parse_spec("inputs: {left: 4, right: 3}\nlayers:\n  - Concat | from=[left, right]\n", "two.yaml"),
)


def batch(count: int = 7) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 4, 5, 3), np.uint8)


def joined(samples: Samples, name: str = "input") -> tuple[list[str], np.ndarray]:
    batches = list(samples.batches())
    names = [each for one in batches for each in one.names]
    assert len(names) == samples.count
    return names, np.concatenate([one.inputs[name] for one in batches])


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (9, 7)) -> Path:
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    image.fromarray(pixels).save(path)
    return path


def test_a_batch_of_any_type_comes_as_float32_in_order(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.float64, np.float16, np.int64):
        np.save(tmp_path / "x.npy", batch().astype(dtype))
        names, found = joined(read_samples([tmp_path / "x.npy"], ONE, None))
        assert found.dtype == np.float32
        assert np.array_equal(found, batch())
        assert names[2] == f"{tmp_path / 'x.npy'}[2]"


def test_batches_are_small_and_together_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "BATCH_BYTES", 3 * 4 * 60)
    np.save(tmp_path / "x.npy", batch())
    samples = read_samples([tmp_path / "x.npy"], ONE, None)
    assert [len(each.names) for each in samples.batches()] == [3, 3, 1]
    assert np.array_equal(joined(samples)[1], batch())


def test_several_inputs_by_name(tmp_path: Path) -> None:
    left, right = np.ones((2, 4), np.float32), np.zeros((2, 3), np.float32)
    np.savez(tmp_path / "x.npz", right=right, left=left)
    samples = read_samples([tmp_path / "x.npz"], TWO, None)
    assert np.array_equal(joined(samples, "left")[1], left)
    assert np.array_equal(joined(samples, "right")[1], right)


@pytest.mark.parametrize(
    ("arrays", "network", "said"),
    [
        ({"input": batch()[..., :2]}, ONE, "the array is 7x4x5x2, but a batch of 4x5x3 is needed: n x 4x5x3"),
        ({"input": batch()[0]}, ONE, r"hint: x\[numpy.newaxis\] makes a batch of one sample"),
        ({"input": batch()[:0]}, ONE, "the array is 0x4x5x3"),
        ({"input": np.float32(1)}, ONE, "the array is a single number"),
        ({"input": np.full((1, 4, 5, 3), "a")}, ONE, "holds <U1, no numbers"),
        ({"input": np.ones((1, 4, 5, 3), complex)}, ONE, "holds complex128, no numbers"),
        ({"inputs": batch()}, ONE, r"no input 'inputs'\n  hint: did you mean 'input'\?"),
        ({"left": np.ones((2, 4))}, TWO, "there is no array for the input 'right'"),
        ({"left": np.ones((2, 4)), "right": np.ones((3, 3))}, TWO, "left has 2, right has 3"),
        ({"left": np.ones((2, 4)), "right": np.ones((2, 4))}, TWO, "the array 'right' is 2x4"),
    ],
)
def test_arrays_that_do_not_fit(arrays: dict[str, np.ndarray], network: Network, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        array_samples({name: np.asarray(array) for name, array in arrays.items()}, network, "x.npz")


def test_values_that_are_not_finite_are_said_with_their_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "BATCH_BYTES", 2 * 4 * 60)
    values = batch().astype(np.float32)
    values[5, 0, 0, 0] = np.nan
    with pytest.raises(SpecError, match="not finite, first in sample 5"):
        joined(array_samples({"input": values}, ONE, "x.npy"))


def test_files_that_hold_no_arrays(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harmed",))

    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(Hostile()))
    np.save(tmp_path / "objects.npy", np.array([Hostile()], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", input=np.array([Hostile()], object))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "objects.npz").read_bytes()[:-30])
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("pickle.npy", "objects.npy", "objects.npz", "cut.npz", "empty.npy"):
        with pytest.raises(SpecError, match="cannot be read"):
            read_samples([tmp_path / name], ONE, None)
    assert not (tmp_path / "harmed").exists()


def test_one_array_is_not_enough_for_two_inputs(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 4)))
    with pytest.raises(SpecError, match=r"the network has 2 inputs\n  hint: a .npz holds an array for each"):
        read_samples([tmp_path / "x.npy"], TWO, None)


def test_one_file_of_arrays_and_nothing_beside_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="nothing beside it"):
        read_samples([tmp_path / "x.npy", tmp_path / "a.jpg"], ONE, None)


def test_a_missing_file_has_a_near_one(tmp_path: Path) -> None:
    np.save(tmp_path / "photos.npy", batch())
    for name in ("photo.npy", "photos.jpg"):
        with pytest.raises(SpecError, match=r"there is no file .*\n  hint: did you mean 'photos.npy'"):
            read_samples([tmp_path / name], ONE, None)


def test_pictures_and_folders_of_them_in_order(tmp_path: Path) -> None:
    last = picture(tmp_path / "z.png", 1)
    inside = [picture(tmp_path / "folder" / name, 2) for name in ("b.PNG", "a/c.png")]
    (tmp_path / "folder" / "notes.txt").write_text("no picture")
    names, found = joined(read_samples([last, tmp_path / "folder"], ONE, None))
    assert names == [str(last), str(inside[1]), str(inside[0])]
    settings = Preprocess(scale=1 / 255, mean=(0.5,), std=(0.25,))
    for each, values in zip(names, found, strict=True):
        assert np.array_equal(values, read_image(Path(each), ONE.input_type, None))
    changed = joined(read_samples([last], ONE, settings))[1]
    assert np.array_equal(changed[0], read_image(last, ONE.input_type, settings))
    assert not np.array_equal(changed[0], found[0])


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no pictures"):
        read_samples([tmp_path], ONE, None)


def test_a_picture_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    pytest.importorskip("PIL")
    with pytest.raises(SpecError, match=r"a\.jpg"):
        joined(read_samples([tmp_path / "a.jpg"], ONE, None))


def test_pictures_cannot_go_to_two_inputs(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="pictures need one input to go to, but there are left, right"):
        read_samples([picture(tmp_path / "a.png")], TWO, None)
