"""Training in bf16 and fp16: it learns, weights stay float32, an interrupted training is bit-equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from netspec.backend.worker import Worker
from netspec.compile import compile_spec
from netspec.errors import BackendError
from netspec.spec.load import parse_spec
from netspec.training.settings import TrainSettings
from netspec.weights import draw
from tests.backends.test_checkpoint import EVERYTHING, PLAIN, bit_equal_after_interruptions
from tests.backends.test_keras_training import DIGITS, digits

NETWORK = compile_spec(parse_spec(DIGITS, "small.yaml"))
BOTH = pytest.mark.parametrize("trainer", ["torch", "keras"])


class Probe:
    """A training in a worker of its own."""

    def products(self, backend: str, precision: str) -> dict[str, set[str]]:
        """The types of numbers in which products are computed, and of the weights, at the first report of a step."""
        from netspec.backend import find_backend

        trainer: Any = find_backend(backend)
        found: dict[str, set[str]] = {"products": set(), "weights": set()}
        if backend == "torch":
            import torch
            from torch.overrides import TorchFunctionMode

            class Seen(TorchFunctionMode):
                def __torch_function__(self, function, types, args=(), kwargs=None):
                    result = function(*args, **(kwargs or {}))
                    if getattr(function, "__name__", "") in ("linear", "conv2d"):
                        found["products"].add(str(result.dtype).removeprefix("torch."))
                        found["weights"].add(str(args[1].dtype).removeprefix("torch."))
                    return result

            with Seen():
                self._train(trainer, precision)
            assert not torch.is_autocast_enabled("cpu")
        else:
            import keras
            from netspec_keras import trainer as module

            kept: list[Any] = []
            made = module.training_of

            def keeping(*arguments: Any) -> Any:
                kept.append(made(*arguments))
                return kept[-1]

            module.training_of = keeping
            try:
                self._train(trainer, precision)
            finally:
                module.training_of = made
            model = kept[0].model
            found["products"] = {str(model.get_layer(name).output.dtype) for name in ("conv_1", "dense_1")}
            found["weights"] = {str(variable.dtype) for variable in model.weights}
            assert keras.config.dtype_policy().name == "float32"
        return found

    def updated(self, backend: str, settings: TrainSettings, overflows: Sequence[bool]) -> tuple[Any, float]:
        """The weights and their running means after updates in fp16, each of the same gradient in so many batches, and
        the scale of the losses; where an update `overflows`, its first batch does.
        """
        sizes = [
            float("inf") if lost and not batch else 1e-3 / settings.accumulate
            for lost in overflows
            for batch in range(settings.accumulate)
        ]
        return self._updated_torch(settings, sizes) if backend == "torch" else self._updated_keras(settings, sizes)

    def _updated_torch(self, settings: TrainSettings, sizes: Sequence[float]) -> tuple[Any, float]:
        import torch
        from netspec_torch.optimizers import averages
        from netspec_torch.ranks import Ranks
        from netspec_torch.training import parameters_of, prepare

        # What memory a kernel leaves as it is holds no zeros then.
        _ = [torch.full((size,), 1e6) for size in range(1, 2000)]
        training = prepare(NETWORK, draw(NETWORK, 0), settings, torch.device("cpu"), Ranks())
        assert training.scaler is not None
        for number, size in enumerate(sizes, start=1):
            training.scaler.scale(torch.zeros(()))
            for parameter in parameters_of(training):
                gradient = torch.full_like(parameter, size * training.scaler.get_scale())
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            if number % settings.accumulate == 0:
                training.update()
        found = training.state()
        with averages(training.optimizer):
            found |= {f"mean of {name}": array for name, array in training.state().items()}
        return found, training.scaler.get_scale()

    def _updated_keras(self, settings: TrainSettings, sizes: Sequence[float]) -> tuple[Any, float]:
        import keras
        from netspec_keras.model import precision, set_weights
        from netspec_keras.precision import POLICIES
        from netspec_keras.training import training_of

        with precision("float32", POLICIES["fp16"]):
            training = training_of(NETWORK, settings)
            set_weights(training.model, NETWORK, draw(NETWORK, 0))
            variables, scaled = training.objective.trainable_variables, training.minimiser
            scaled.build(variables)
            for size in sizes:
                scale = float(scaled.dynamic_scale)
                assert float(scaled.scale_loss(keras.ops.ones(()))) == pytest.approx(scale / settings.accumulate)
                scaled.apply([keras.ops.full(each.shape, size * scale) for each in variables], variables)
            found = training.state()
            with training.averages():
                found |= {f"mean of {name}": array for name, array in training.state().items()}
        return found, float(scaled.dynamic_scale)

    def refuse(self) -> None:
        """Ask for bf16 on a GPU that has no units for it."""
        from unittest.mock import patch

        import torch
        from netspec_torch.precision import check

        with patch.object(torch.cuda, "is_bf16_supported", lambda including_emulation: False):
            check("bf16", torch.device("cuda"))

    def _train(self, trainer: Any, precision: str) -> None:
        settings = TrainSettings(precision=precision, epochs=1, batch_size=600)
        trainer.train(NETWORK, draw(NETWORK, 0), digits(), settings, "cpu", lambda *_, **__: None)


probe = Probe()


@pytest.fixture(scope="module")
def probing():
    with Worker("tests.backends.test_precision:probe", {"CUDA_VISIBLE_DEVICES": ""}) as worker:
        yield worker


@BOTH
@pytest.mark.parametrize(("precision", "accumulate"), [("bf16", 1), ("fp16", 1), ("fp16", 2)])
def test_digits_are_learnt(workers, trainer, precision, accumulate):
    """What was trained so predicts, in float32, what the history says of it but for single images."""
    settings = TrainSettings.model_validate(
        {
            "epochs": 5,
            "optimizer": {"adam": {"learning_rate": 0.01}},
            "seed": 3,
            "precision": precision,
            "accumulate": accumulate,
        }
    )
    dataset = digits()
    weights, history = workers[trainer].call(
        "train",
        progress=lambda event, **values: None,
        network=NETWORK,
        weights=draw(NETWORK, 0),
        dataset=dataset,
        settings=settings,
        device="cpu",
    )
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    bits = np.concatenate([array.reshape(-1) for name, array in weights.items() if "kernel" in name]).view(np.uint32)
    assert (bits & 0xFFFF).any(), "weights have more digits than they would as bf16"

    def predicted(images: NDArray[Any]) -> NDArray[Any]:
        given = {"input": images}
        return workers[trainer].call("predict", network=NETWORK, weights=weights, inputs=given)["output"]

    assert (predicted(dataset.test.images).argmax(1) == dataset.test.labels).mean() > 0.94
    held = dataset.validation
    loss = -np.log(predicted(held.images)[np.arange(len(held)), held.labels]).mean()
    assert loss == pytest.approx(min(row["val_loss"] for row in history), rel=0.05)


@BOTH
@pytest.mark.parametrize(("precision", "dtype"), [("float32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_products_are_as_asked_and_weights_float32(probing, trainer, precision, dtype):
    found = probing.call("products", backend=trainer, precision=precision)
    assert found["products"] == {dtype}
    assert found["weights"] == {"float32"}


@BOTH
@pytest.mark.parametrize(
    ("precision", "settings"),
    [("bf16", EVERYTHING), ("fp16", PLAIN), ("fp16", EVERYTHING)],
    ids=["bf16", "fp16", "fp16 accumulated"],
)
def test_interrupted_trainings_are_bit_equal(trainer, settings, precision, tmp_path):
    narrow = settings.model_copy(update={"precision": precision})
    with Worker("tests.backends.test_checkpoint:probe", {"CUDA_VISIBLE_DEVICES": ""}) as probing:
        bit_equal_after_interruptions(probing, trainer, narrow, tmp_path / "checkpoint.safetensors")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adagrad", "rmsprop"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_update_that_overflows_leaves_nothing_behind(probing, optimizer, accumulate):
    """No decay, no step in the running mean, a momentum that begins with the first update that is made, and of the
    batches of that update not one. Then both frameworks are where they would be without it, at half the scale.
    """
    decayed = {"weight_decay": 0.1, "decay": "decoupled", **({"momentum": 0.9} if optimizer == "sgd" else {})}
    chosen = {"precision": "fp16", "ema": 0.5, "accumulate": accumulate, "optimizer": {optimizer: decayed}}
    settings = TrainSettings.model_validate(chosen)
    after = {}
    for trainer in ("torch", "keras"):
        wanted, scale = probing.call("updated", backend=trainer, settings=settings, overflows=[False, False])
        after[trainer], halved = probing.call(
            "updated", backend=trainer, settings=settings, overflows=[True, False, False]
        )
        assert (scale, halved) == (2.0**16, 2.0**15)
        assert {name: array.tobytes() for name, array in after[trainer].items()} == {
            name: array.tobytes() for name, array in wanted.items()
        }
    for name, array in after["torch"].items():
        np.testing.assert_allclose(after["keras"][name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_device_without_units_is_refused(probing):
    with pytest.raises(BackendError, match=r"torch cannot train in bf16 on cuda: it has no units for it\n  hint: prec"):
        probing.call("refuse")


def test_the_names_of_the_frameworks_are_known():
    assert TrainSettings.model_validate({"precision": "mixed_bfloat16"}).precision == "bf16"
    assert TrainSettings.model_validate({"precision": "Float16"}).precision == "fp16"
    assert TrainSettings().model_dump(mode="json")["precision"] == "float32"
    assert TrainSettings().tf32 is False
