"""netspec from Python: `netspec.load("x.yaml").torch()`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from netspec.backend import find_backend
from netspec.compile import compile_spec
from netspec.compile.pixels import exported_network
from netspec.importing.initial import Start
from netspec.network import Network
from netspec.spec.load import load_spec
from netspec.spec.model import Spec


class Model:
    """A compiled spec; each framework is imported when its model is asked for."""

    def __init__(self, spec: Spec, weights: str | Path | None = None) -> None:
        self.spec = spec
        self.network: Network = compile_spec(spec)
        self._start = Start(spec, self.network, Path(weights) if weights is not None else None)
        if weights is not None:
            _ = self.weights  # a file that does not fit is an error now, not at first use

    @cached_property
    def weights(self) -> dict[str, Any]:
        """The canonical weights, as float32 numpy arrays by `row.weight`.

        Those of the file that the model was loaded with; without one those of the base's file, if the spec names one,
        and the others freshly drawn from the spec's seed, so that nobody has trained them. Raises SpecError when they
        do not fit into memory, and for a file that is missing or does not fit.
        """
        return self._start.weights(self.spec.train.seed if self.spec.train else 0)

    def torch(self) -> Any:
        """The network as a `torch.nn.Module` in evaluation mode, with `weights`."""
        return self._model("torch")

    def keras(self) -> Any:
        """The network as a `keras.Model`, with `weights`."""
        return self._model("keras")

    def onnx(self) -> Any:
        """The network as an `onnx.ModelProto`, with `weights` and the spec's `export` settings."""
        return self._model("onnx")

    def _model(self, backend: str) -> Any:
        return find_backend(backend).model(exported_network(self.spec, self.network), self.weights, self.spec.export)

    def predict(self, inputs: Any, backend: str = "torch") -> Any:
        """The network's output for a batch, float32 [n, *shape], computed on a backend in this process.

        `inputs` are an array [n, *shape] with the channels last, arrays by the names of several inputs, or the paths
        of pictures, folders of pictures, or one file of arrays, which are read as `netspec predict` reads them. Several
        outputs come by their names. Raises SpecError for what cannot be read or does not fit.
        """
        import numpy as np

        from netspec.data.given import array_samples, read_samples

        if isinstance(inputs, (str, Path)):
            inputs = [inputs]
        if isinstance(inputs, Mapping):
            samples = array_samples({name: np.asarray(array) for name, array in inputs.items()}, self.network, "inputs")
        elif isinstance(inputs, Sequence) and inputs and all(isinstance(each, (str, Path)) for each in inputs):
            samples = read_samples([Path(each) for each in inputs], self.network, self.spec.preprocess)
        else:
            samples = array_samples({next(iter(self.network.inputs)): np.asarray(inputs)}, self.network, "inputs")
        found = find_backend(backend)
        pieces = [found.predict(self.network, self.weights, batch.inputs) for batch in samples.batches()]
        outputs = {name: np.concatenate([piece[name] for piece in pieces]) for name in self.network.outputs}
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def summary(self, batch: int = 1) -> str:
        """The layer table: shapes, parameters, MACs and memory for a batch of this size."""
        from netspec.report.table import show_text

        return show_text(self.network, batch)


def load(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    variant: str | None = None,
    weights: str | Path | None = None,
) -> Model:
    """Read, check and compile a spec, or one of its variants.

    `overrides` are `key=value` strings as `--set` takes them. `weights` is a file of canonical weights, as a build
    folder has it (`build/<name>/weights.safetensors`), or one that `netspec import-weights` reads; without it the
    weights are freshly drawn, not trained. Raises SpecError for a spec that is wrong, and for weights that do not
    belong to its network.
    """
    return Model(load_spec(Path(path), overrides, variant), weights)
