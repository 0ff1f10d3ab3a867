"""Real samples for a proof: the first images of what was decoded before, and none where that would cost anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.compile import compile_spec
from netspec.compile.pixels import trained_network
from netspec.data import load
from netspec.data.few import few_images
from netspec.network import Network
from netspec.spec.load import parse_spec
from netspec.spec.model import Spec, VerifySettings
from netspec.verify.samples import choose_samples

DIGITS = "input: 8x8x1\nlayers:\n  - Flatten\n  - FNN | 10 | Softmax\ndata: digits\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))


def spec_of(text: str) -> tuple[Spec, Network]:
    spec = parse_spec(text, "net.yaml")
    return spec, compile_spec(spec)


def few(spec: Spec, network: Network, runs: Network | None = None, near: Path = Path(), count: int = 2) -> Any:
    assert spec.data is not None
    return few_images(spec.data, network, runs or network, near, spec.preprocess, count)


def test_images_are_those_of_the_test_once_they_were_decoded() -> None:
    spec, network = spec_of(DIGITS)
    assert few(spec, network) == {}, "nothing is decoded for it"
    assert spec.data is not None
    test = load(spec.data, network).test
    assert test is not None
    [(name, images)] = few(spec, network, count=3).items()
    assert (name, images.dtype, images.shape) == ("input", np.float32, (3, 8, 8, 1))
    assert np.array_equal(images, test.images[:3])


def test_preprocessing_is_done_unless_the_network_does_it() -> None:
    spec, network = spec_of(DIGITS + "preprocess: {scale: 1/16, mean: 0.5, std: 0.25}\n")
    assert spec.data is not None
    load(spec.data, network, Path(), spec.preprocess)
    [images], [pixels] = few(spec, network).values(), few(spec, network, trained_network(spec, network)).values()
    assert pixels.max() > 9
    assert np.allclose(images, (pixels / 16 - 0.5) / 0.25, rtol=1e-6)


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    images = np.arange(4 * 3, dtype=np.float32).reshape(4, 3)
    np.savez(tmp_path / "d.npz", images=images, labels=np.array([0, 1, 0, 1]))
    spec, network = spec_of("input: 3\nlayers:\n  - FNN | 2 | Softmax\ndata: {file: d.npz, validation_split: 0.5}\n")
    assert spec.data is not None
    dataset = load(spec.data, network, tmp_path)
    [(_, found)] = few(spec, network, near=tmp_path, count=9).items()
    assert np.array_equal(found, dataset.validation.images)
    assert few(spec, network, near=tmp_path / "elsewhere") == {}, "the training says what is missing"


def test_a_costly_network_has_one_of_them() -> None:
    _, network = spec_of("input: 64x64x3\nlayers:\n" + "  - CNN | 256, 3 | ReLU | padding=same\n" * 3)
    real = {"input": np.full((2, 64, 64, 3), 7, np.float32)}
    plain, chosen = (choose_samples(network, VerifySettings(), each) for each in (None, real))
    assert "data 1" not in plain.names
    place = chosen.names.index("data 1")
    assert (chosen.inputs["input"][place] == 7).all()
    assert len(plain.names) == len(chosen.names) < 10
    assert "data 2" not in chosen.names
