"""Weights from state dicts that PyTorch wrote, judged by what its module computes; and pickles that mean harm."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from netspec.backend import ExportSettings
from netspec.backend.worker import Worker
from netspec.errors import SpecError
from netspec.importing import import_weights, load_weights
from netspec.layers import BatchNorm, Conv, ConvTranspose, Dense, Dropout, Flatten, MaxPool, PReLU, Reshape
from netspec.layers.activation import Activation
from netspec.network import Network
from netspec.reference import evaluate
from netspec.weights import draw
from tests.cases import chain

pytest.importorskip("torch")

RELU = Activation(function="relu")
IMAGE = (9, 8, 3)


class Stock:
    """Modules as people write them, in a process that knows PyTorch."""

    def write(self, module: str, files: dict[str, str], inputs):
        """Make a module with random weights, save it in each of the ways, and give back its outputs."""
        import torch

        torch.manual_seed(4)
        made = getattr(self, module)()
        random = np.random.default_rng(1)
        for name, tensor in made.state_dict().items():
            if tensor.is_floating_point():
                values = random.uniform(0.2, 1.5, tensor.shape) * (
                    1 if "var" in name else random.choice([-1, 1], tensor.shape)
                )
                tensor.copy_(torch.from_numpy(values / max(np.prod(tensor.shape[1:]) ** 0.5, 1)))
        for file, way in files.items():
            getattr(self, f"save_{way}")(made, file)
        made.eval()
        with torch.no_grad():
            return made(torch.from_numpy(inputs)).numpy()

    def classic(self):
        from torch import nn

        return nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.BatchNorm2d(6, eps=1e-3),
            nn.PReLU(6),
            nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False),
            nn.BatchNorm2d(6, eps=1e-3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(),
            nn.BatchNorm1d(54, eps=1e-3),
            nn.Linear(54, 10),
            nn.ReLU(),
            nn.Linear(10, 4),
        )

    def generator(self):
        """A vector that becomes an image, as generators begin."""
        from torch import nn

        return nn.Sequential(
            nn.Linear(5, 24),
            nn.BatchNorm1d(24, eps=1e-3),
            nn.ReLU(),
            nn.Unflatten(1, (4, 2, 3)),
            nn.ConvTranspose2d(4, 3, 3),
        )

    def blocks(self):
        """Two blocks of the same shapes, in words that do not sort as they run."""
        from torch import nn

        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.pre = nn.Conv2d(4, 4, 3, padding=1)
                self.norm = nn.BatchNorm2d(4, eps=1e-3)
                self.mix = nn.Conv2d(4, 4, 1)

            def forward(self, x):
                return self.mix(self.norm(self.pre(x)))

        class Whole(nn.Module):
            def __init__(self):
                super().__init__()
                self.stem = nn.Conv2d(3, 4, 3)
                self.body = nn.Sequential(*(Block() for _ in range(11)))  # so that 10 would sort before 2
                self.after = nn.Conv2d(4, 5, 1)

            def forward(self, x):
                return self.after(self.body(self.stem(x)))

        return Whole()

    def save_state(self, module, file):
        import torch

        torch.save(module.state_dict(), file)

    def save_old(self, module, file):
        import torch

        torch.save(module.state_dict(), file, _use_new_zipfile_serialization=False)

    def save_checkpoint(self, module, file):
        import torch

        optimizer = torch.optim.Adam(module.parameters())
        torch.save({"epoch": 3, "model": module.state_dict(), "optimizer": optimizer.state_dict()}, file)

    def save_parallel(self, module, file):
        import torch

        torch.save(torch.nn.DataParallel(module).state_dict(), file)

    def save_safe(self, module, file):
        import safetensors.torch

        safetensors.torch.save_file(module.state_dict(), file)

    def save_double(self, module, file):
        import torch

        torch.save(
            {
                name: tensor.double() if tensor.is_floating_point() else tensor
                for name, tensor in module.state_dict().items()
            },
            file,
        )

    def save_brain(self, module, file):
        import safetensors.torch

        safetensors.torch.save_file({name: tensor.bfloat16() for name, tensor in module.state_dict().items()}, file)

    def save_half(self, module, file):
        import torch

        torch.save(module.half().state_dict(), file)
        module.float()

    def save_whole(self, module, file):
        import torch

        torch.save(module, file)

    def save_script(self, module, file):
        import torch

        torch.jit.script(module).save(file)

    def save_whole_numbers(self, module, file):
        import torch

        torch.save({name: (tensor * 100).to(torch.int8) for name, tensor in module.state_dict().items()}, file)

    def save_quantized(self, module, file):
        import torch

        torch.save({"0.weight": torch.quantize_per_tensor(torch.randn(3, 3), 0.1, 0, torch.qint8)}, file)

    def save_spread(self, module, file):
        """One number that says it is 10^14."""
        import torch

        torch.save({"0.weight": torch.zeros(1).expand(10**7, 10**7)}, file)

    def save_two(self, module, file):
        import torch

        torch.save({"generator": module.state_dict(), "critic": module.state_dict()}, file)

    def save_list(self, module, file):
        import torch

        torch.save([1, 2, 3], file)


stock = Stock()


@pytest.fixture(scope="module")
def torch() -> Iterator[Worker]:
    with Worker("tests.backends.test_importing_torch:stock") as worker:
        yield worker


def classic() -> Network:
    return chain(
        "classic",
        IMAGE,
        Conv(filters=6, kernel=3),
        BatchNorm(),
        PReLU(),
        Conv(filters=6, kernel=3, padding="same", groups=2, bias=False),
        (BatchNorm(), RELU),
        MaxPool(),
        Flatten(),
        Dropout(),
        BatchNorm(),
        (Dense(units=10), RELU),
        Dense(units=4),
    )


def inputs(network: Network) -> np.ndarray:
    """A batch, with the channels last."""
    return np.random.default_rng(2).normal(0, 1, (3, *network.input_type.shape)).astype("float32")


def first(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def agree(network: Network, weights, given, outputs, limit=1e-5) -> None:
    *_, found = evaluate(network, weights, {"input": given}).values()
    outputs = np.moveaxis(outputs, 1, -1)
    assert np.linalg.norm(found - outputs) <= limit * np.linalg.norm(outputs)


@pytest.mark.parametrize(
    ("file", "way"),
    [
        ("m.pt", "state"),
        ("m.pth", "old"),
        ("m.bin", "checkpoint"),
        ("m.pt", "parallel"),
        ("m.safetensors", "safe"),
        ("m.pt", "double"),
    ],
)
def test_every_kind_of_file_gives_the_module(torch, tmp_path, file, way):
    network = classic()
    outputs = torch.call("write", module="classic", files={str(tmp_path / file): way}, inputs=first(inputs(network)))
    found = import_weights(tmp_path / file, network)
    assert list(found.weights) == [weight.name for weight in network.weights()]
    agree(network, found.weights, inputs(network), outputs)
    notes = " ".join(found.notes)
    assert "turned to height, width, channels" in notes
    assert ("the state dict is 'model' in a checkpoint that also holds 'epoch', 'optimizer'" in notes) == (
        way == "checkpoint"
    )
    assert ("float64, rounded to float32" in notes) == (way == "double")


@pytest.mark.parametrize(("file", "way"), [("m.pt", "half"), ("m.safetensors", "brain")])
def test_smaller_types_are_widened_bit_for_bit(torch, tmp_path, file, way):
    network = classic()
    files = {str(tmp_path / file): way, str(tmp_path / "whole.pt"): "state"}
    torch.call("write", module="classic", files=files, inputs=first(inputs(network)))
    small, whole = (import_weights(tmp_path / name, network) for name in (file, "whole.pt"))
    assert any("widened to float32" in note for note in small.notes)
    for name, array in small.weights.items():
        np.testing.assert_allclose(array, whole.weights[name], rtol=2**-7 if way == "brain" else 2**-10)
        cut = array.view(np.uint32) & (0xFFFF if way == "brain" else 0x1FFF)
        assert not cut.any()


@pytest.mark.parametrize(("file", "way"), [("m.pt", "state"), ("m.safetensors", "safe")])
def test_a_vector_that_becomes_an_image(torch, tmp_path, file, way):
    network = chain(
        "generator",
        (5,),
        Dense(units=24),
        (BatchNorm(), RELU),
        Reshape(shape=(2, 3, 4)),
        ConvTranspose(filters=3, kernel=3),
    )
    outputs = torch.call("write", module="generator", files={str(tmp_path / file): way}, inputs=inputs(network))
    agree(network, load_weights(tmp_path / file, network), inputs(network), outputs)


def blocks() -> Network:
    block = (Conv(filters=4, kernel=3, padding="same"), BatchNorm(), Conv(filters=4, kernel=1))
    return chain("blocks", IMAGE, Conv(filters=4, kernel=3), *block * 11, Conv(filters=5, kernel=1))


@pytest.mark.parametrize(("file", "way"), [("m.pt", "state"), ("m.safetensors", "safe")])
def test_words_are_put_in_order_by_their_shapes(torch, tmp_path, file, way):
    network = blocks()
    outputs = torch.call("write", module="blocks", files={str(tmp_path / file): way}, inputs=first(inputs(network)))
    found = import_weights(tmp_path / file, network)
    assert found.how == ("by order and shape" if way == "state" else "by the tree of names and the shapes")
    agree(network, found.weights, inputs(network), outputs)


def test_our_own_state_dict_is_taken_by_name(tmp_path):
    from netspec_torch import backend

    network = classic()
    weights = draw(network, 3)
    backend.export(network, weights, tmp_path, ExportSettings())
    found = import_weights(tmp_path / "weights.safetensors", network)
    assert found.how == "by name"
    assert all(found.weights[name].tobytes() == weights[name].tobytes() for name in weights)
    [note] = found.notes
    assert "as netspec flattens images; --flattened first takes them the other way" in note
    turned = import_weights(tmp_path / "weights.safetensors", network, flattened="first").weights
    assert {name for name in weights if turned[name].tobytes() != weights[name].tobytes()} == {
        "dense_1.kernel",
        "batch_norm_3.mean",
        "batch_norm_3.var",
        "batch_norm_3.gamma",
        "batch_norm_3.beta",
    } - {name for name in weights if np.ptp(weights[name]) == 0}


def test_wrapped_names_are_ours_still(tmp_path):
    from netspec_torch import backend

    network = classic()
    weights = draw(network, 3)
    backend.export(network, weights, tmp_path, ExportSettings())
    state = load_file(tmp_path / "weights.safetensors")
    save_file(
        {f"module.net.{name.replace('conv_1', 'conv.1')}": array for name, array in state.items()},
        tmp_path / "w.safetensors",
    )
    found = import_weights(tmp_path / "w.safetensors", network, flattened="last")
    assert found.how == "by name"
    assert all(found.weights[name].tobytes() == weights[name].tobytes() for name in weights)


# What does not fit


def refusal(path: Path, network: Network | None = None) -> str:
    with pytest.raises(SpecError) as caught:
        load_weights(path, network or classic())
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize(("file", "way"), [("m.pt", "state"), ("m.safetensors", "safe")])
def test_rows_of_another_size_are_named_with_both_shapes(torch, tmp_path, file, way):
    network = classic()
    torch.call("write", module="classic", files={str(tmp_path / file): way}, inputs=first(inputs(network)))
    layers = [node.layer for node in network.nodes]
    layers[0] = Conv(filters=6, kernel=(3, 4))
    said = refusal(tmp_path / file, chain("classic", (9, 9, 3), *layers))
    assert "row 'conv_1': kernel has to be 3x4x3x6 (6x3x3x4 in this file's layout), " in said
    assert "but 0.weight is 6x3x3x3 (here 3x3x3x6)" in said
    said = refusal(tmp_path / file, chain("classic", IMAGE, *(node.layer for node in network.nodes[:-1])))
    assert "holds 20 tensors, too many" in said
    said = refusal(tmp_path / file, chain("classic", IMAGE, *(node.layer for node in network.nodes), Dense(units=2)))
    assert "holds 20 tensors, too few: classic needs 22" in said
    assert "row 'dense_3': nothing in the file is its kernel 4x2 and bias 2" in said


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("whole", "it holds code (torch.nn.modules.container.Sequential), which netspec never runs"),
        ("script", "it is a TorchScript archive, which holds code, which netspec never runs"),
        ("whole_numbers", "row 'conv_1': 0.weight is int8, but weights are floating point numbers"),
        ("quantized", "0.weight is quantized, but a weight is an array of plain numbers"),
        ("spread", "its tensors would take 400,000,000,000,000 bytes, far more than the network needs"),
        ("two", "it should hold one state dict (names and tensors), but holds several: 'generator', 'critic'"),
        ("list", "it should hold one state dict (names and tensors), but holds none"),
    ],
)
def test_what_is_no_state_dict(torch, tmp_path, way, said):
    torch.call("write", module="classic", files={str(tmp_path / "m.pt"): way}, inputs=first(inputs(classic())))
    assert said in refusal(tmp_path / "m.pt")


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_with_code_is_not_run(tmp_path, protocol):
    path = tmp_path / "m.pt"
    path.write_bytes(pickle.dumps({"0.weight": Hostile(f"touch {tmp_path}/hacked")}, protocol))
    said = refusal(path)
    assert "which netspec never runs" in said
    assert "hint: save the state dict alone, best as safetensors" in said
    assert not (tmp_path / "hacked").exists()


def test_an_archive_with_code_is_not_run(torch, tmp_path):
    torch.call("write", module="classic", files={str(tmp_path / "m.pt"): "state"}, inputs=first(inputs(classic())))
    with zipfile.ZipFile(tmp_path / "m.pt") as whole, zipfile.ZipFile(tmp_path / "bad.pt", "w") as written:
        for name in whole.namelist():
            code = pickle.dumps(Hostile(f"touch {tmp_path}/hacked"), 2)
            written.writestr(name, code if name.endswith("data.pkl") else whole.read(name))
    assert "it holds code (posix.system), which netspec never runs" in refusal(tmp_path / "bad.pt")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(("file", "way"), [("m.pt", "state"), ("m.pt", "old"), ("m.safetensors", "safe")])
@pytest.mark.parametrize("rest", [0, 0.1, 0.5, 0.99])
def test_truncated_files(torch, tmp_path, file, way, rest):
    torch.call("write", module="classic", files={str(tmp_path / file): way}, inputs=first(inputs(classic())))
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: int(len(content) * rest)])
    assert "the weights cannot be read: not a whole " in refusal(tmp_path / file)


def test_an_archive_that_unpacks_to_more_than_it_is(torch, tmp_path):
    torch.call("write", module="classic", files={str(tmp_path / "m.pt"): "state"}, inputs=first(inputs(classic())))
    with (
        zipfile.ZipFile(tmp_path / "m.pt") as whole,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in whole.namelist():
            bomb.writestr(name, whole.read(name) + bytes(70_000_000 * ("data/0" in name)))
    assert "far more than the network needs" in refusal(tmp_path / "b.pt")


def test_memory_that_a_pickle_asks_for(tmp_path):
    class Large:
        def __reduce__(self):
            return bytearray, (2**50,)

    (tmp_path / "m.pt").write_bytes(pickle.dumps({"x": Large()}, 2))
    assert "it asks for more memory than there is" in refusal(tmp_path / "m.pt")
