"""The range that a network was trained on: what a build notes of it, and which inputs are doubted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.backend import ExportSettings
from netspec.compile import compile_spec
from netspec.compile.pixels import reading_pixels
from netspec.data.given import array_samples
from netspec.data.preprocess import Preprocess, scaled
from netspec.data.values import ENOUGH, LOOKED_AT, Range, known_range, trained_values
from netspec.inference import predict as work
from netspec.inference.artefact import Artefact, Known
from netspec.network import Network
from netspec.spec.load import parse_spec

NETWORK = compile_spec(parse_spec("input: 8x8x1\nlayers:\n  - Flatten\n  - FNN | 3 | Softmax\n", "net.yaml"))


@pytest.mark.parametrize(
    ("trained", "given", "doubted"),
    [
        ((0, 16), (0, 255), True),
        ((0, 1), (0, 255), True),
        ((0, 255), (0, 1), True),
        ((0, 16), (0, 1), True),
        ((0, 1), (-1, 1), True),
        ((-1, 1), (0, 255), True),
        ((0, 16), (0, 16), False),
        ((0, 255), (3, 201), False),
        ((-2.1, 2.6), (-2.3, 2.8), False),  # pictures that are a little darker and brighter
        ((-3, 3), (-4, 4.5), False),  # outliers of a table
        ((0, 0), (0, 1), True),
        ((0, 0), (0, 0), False),
    ],
)
def test_what_is_scaled_otherwise_is_doubted(
    trained: tuple[float, float], given: tuple[float, float], doubted: bool
) -> None:
    assert Range(*trained).doubts(Range(*given, ENOUGH)) == doubted


def test_few_values_that_are_alike_are_not_doubted() -> None:
    """A row of a table."""
    assert not Range(-3, 3).doubts(Range(0.1, 0.12, ENOUGH - 1))
    assert Range(-3, 3).doubts(Range(0.1, 0.12, ENOUGH))


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_the_noted_range_is_that_of_all_that_is_trained_on(channels: str) -> None:
    images = np.random.default_rng(0).integers(3, 200, (20, 6, 5, 3)).astype(np.uint8)
    images[..., 0] //= 2
    settings = Preprocess(channels=channels, scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2, 0.5, 0.1))
    whole = scaled(images, settings)
    found = trained_values(images, settings)
    assert found["data"] == [images.min(), images.max()]
    assert found["input"] == [whole.min(), whole.max()]
    assert trained_values(images, None)["input"] == found["data"]


def test_of_many_images_some_are_looked_at() -> None:
    images = np.zeros((10 * LOOKED_AT, 1))
    images[::10] = 1
    images[5::10] = 7
    assert trained_values(images, None)["data"] == [1, 1]


def test_a_range_that_no_build_noted_is_not_known() -> None:
    assert known_range(None, pixels=False) is None
    assert known_range({"trained": False}, pixels=False) is None
    facts = {"values": {"data": [0, 16], "input": [0, 1]}}
    assert known_range(facts, pixels=True) == Range(0, 16)
    assert known_range(facts, pixels=False) == Range(0, 1)


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The warnings of a prediction, of which nothing is computed."""

    @contextmanager
    def running(artefact: Artefact, _: object) -> Iterator[Any]:
        yield lambda inputs: {
            name: np.zeros((len(next(iter(inputs.values()))), 3)) for name in artefact.network.outputs
        }

    monkeypatch.setattr(work, "running", running)

    def ask(most: float, facts: Mapping[str, Any] | None, network: Network = NETWORK, *, pictures: bool) -> list[str]:
        known = Known({}, Path("w.safetensors"), facts) if facts is not None else None
        artefact = Artefact("torch", network, ExportSettings(), Path("net.py"), known)
        values = np.linspace(0, most, 64, dtype=np.float32).reshape(1, 8, 8, 1)
        given = array_samples({"input": np.repeat(values, 2, axis=0)}, network, "x.npy")
        heard = []

        def progress(event: str, **said: Any) -> None:
            if event == "warning":
                heard.append(f"{said['text']}; {said['hint']}")

        work.predict(artefact, replace(given, pictures=pictures), progress)
        return heard

    return ask


def test_both_ranges_are_said_and_what_to_do(warned: Callable[..., list[str]]) -> None:
    facts = {"network": NETWORK.digest, "values": {"data": [0, 255], "input": [-1, 1]}}
    said = "the inputs are values of 0 to 255, but the network was trained on values of -1 to 1; "
    assert warned(255, facts, pictures=False) == [f"{said}{work.OTHERWISE}"]
    [picture] = warned(255, facts, pictures=True)
    assert picture.startswith(said)
    assert "with --set preprocess.scale=2/255 --set preprocess.mean=1 their bytes become -1 to 1" in picture
    assert warned(1, facts, pictures=True) == []


def test_a_file_that_reads_pixels_is_held_against_the_data(warned: Callable[..., list[str]]) -> None:
    reads = reading_pixels(NETWORK, Preprocess(scale=1 / 255))
    facts = {"network": NETWORK.digest, "values": {"data": [0, 255], "input": [0, 1]}}
    assert warned(255, facts, reads, pictures=True) == []
    [said] = warned(1, facts, reads, pictures=True)
    assert (
        said == f"the inputs are values of 0 to 1, but the network was trained on values of 0 to 255; {work.OTHERWISE}"
    )


def test_nothing_is_said_where_nothing_is_known(warned: Callable[..., list[str]]) -> None:
    assert warned(255, None, pictures=True) == []
    assert warned(255, {"network": NETWORK.digest, "trained": False}, pictures=True) == []
