"""The derivatives of what the rendered model computes, by whichever framework Keras runs on.

Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import keras
import numpy as np

from netspec.training.stepping import Gradients
from netspec_keras.model import arguments, precision, prepare, set_weights, tapped
from netspec_keras.realised import Rendering
from netspec_keras.render import render_taps

if TYPE_CHECKING:
    from netspec.network import Network
    from netspec.tensors import Array, Arrays, Weights

Total = Callable[[Sequence[Any]], Any]
"""The number that is derived, of the results of all rows."""
Derived = tuple[Sequence[Any], Sequence[Any], Sequence[Any], Sequence[Any]]
"""The results of all rows, and the gradients by the trained variables, the inputs, and the rows' results.

None is zero, but for a row: there it means that nothing could be told.
"""


def gradients(
    network: Network, weights: Weights, inputs: Arrays, cotangents: Arrays, *, training: bool, rows: bool
) -> Gradients:
    """See `Differentiable.gradients`."""
    prepare()
    places = Rendering(network).placements
    own = {weight.name: (places[weight.name], weight.shape) for weight in network.weights() if weight.trainable}
    index = {row.result: at for at, row in enumerate(network.rows)}
    ends = {name: index[value] for name, value in network.outputs.items()}
    with precision("float64"):
        model = tapped(render_taps(network), "float64")
        set_weights(model, network, weights)
        variables = {variable.path: variable for variable in model.weights}
        trained = [variables[place.name] for place, _ in own.values()]
        along = {name: keras.ops.convert_to_tensor(cotangents[name], "float64") for name in ends}

        def total(results: Sequence[Any]) -> Any:
            return sum(keras.ops.sum(results[at] * along[name]) for name, at in ends.items())

        derive = DERIVE[keras.backend.backend()]
        results, by_weight, by_input, by_row = derive(
            model, trained, arguments(network, inputs, "float64"), total, training, rows
        )
    found = [keras.ops.convert_to_numpy(result) for result in results] if rows else []
    return Gradients(
        outputs={name: keras.ops.convert_to_numpy(results[at]) for name, at in ends.items()},
        weights={
            name: place.recover(_numbers(found, place.place(np.zeros(shape))), shape)
            for (name, (place, shape)), found in zip(own.items(), by_weight, strict=True)
        },
        inputs={name: _numbers(found, inputs[name]) for name, found in zip(network.inputs, by_input, strict=True)},
        values={row.name: value for row, value in zip(network.rows, found, strict=rows)},
        rows={
            row.name: keras.ops.convert_to_numpy(each)
            for row, each in zip(network.rows, by_row, strict=rows)
            if each is not None
        },
    )


def _numbers(found: Any, like: Array) -> Array:
    """A gradient, which is zero where the outputs don't depend on what it is the gradient of."""
    return np.zeros(like.shape) if found is None else keras.ops.convert_to_numpy(found)


def _listed(results: Any) -> Sequence[Any]:
    return results if isinstance(results, (list, tuple)) else [results]


def _call(model: Any, given: Sequence[Any], training: bool) -> Sequence[Any]:
    return _listed(model(given if len(given) > 1 else given[0], training=training))


def _by_tensorflow(
    model: Any, trained: Sequence[Any], given: Sequence[Any], total: Total, training: bool, rows: bool
) -> Derived:
    import tensorflow as tf

    with tf.GradientTape(persistent=rows) as tape:
        for value in given:
            tape.watch(value)
        results = _call(model, given, training)
        number = total(results)
    weights = [variable.value for variable in trained]
    by_row = []
    for result, found in zip(results, tape.gradient(number, results) if rows else (), strict=rows):
        # What depends on nothing that is watched, the tape knows nothing of.
        known = found is not None or any(each is not None for each in tape.gradient(result, [*weights, *given]))
        by_row.append(found if found is not None else tf.zeros_like(result) if known else None)
    by_source = [
        None if each is None else tf.convert_to_tensor(each) for each in tape.gradient(number, [*weights, *given])
    ]
    return results, by_source[: len(trained)], by_source[len(trained) :], by_row


def _by_torch(
    model: Any, trained: Sequence[Any], given: Sequence[Any], total: Total, training: bool, rows: bool
) -> Derived:
    import torch

    given = [value.requires_grad_() for value in given]
    results = _call(model, given, training)
    weights = [variable.value for variable in trained]
    sources = [each for each in (*weights, *given, *(results if rows else ())) if each.requires_grad]
    by_source = torch.autograd.grad(total(results), sources, allow_unused=True)
    found = {id(source): each for source, each in zip(sources, by_source, strict=True)}
    by_row = [
        None
        if id(result) not in found
        else torch.zeros_like(result)
        if found[id(result)] is None
        else found[id(result)]
        for result in (results if rows else ())
    ]
    return results, [found.get(id(each)) for each in weights], [found.get(id(each)) for each in given], by_row


def _by_jax(
    model: Any, trained: Sequence[Any], given: Sequence[Any], total: Total, training: bool, rows: bool
) -> Derived:
    """JAX derives by what a function is given: to the result of each row, where that is asked for, a zero is added."""
    import jax

    variables = model.trainable_variables
    fixed = [variable.value for variable in model.non_trainable_variables]

    def function(values: Sequence[Any], own: Sequence[Any], added: Mapping[int, Any]) -> Any:
        with _disturbed(model, added):
            results, _ = model.stateless_call(values, fixed, own if len(own) > 1 else own[0], training=training)
        return total(_listed(results)), _listed(results)

    values, own = [variable.value for variable in variables], list(given)
    zeros: dict[int, Any] = {}
    if rows:
        _, shapes = jax.eval_shape(function, values, own, {})
        zeros = {index: jax.numpy.zeros(shapes[index].shape, shapes[index].dtype) for index in _computed(model)}
    derived = jax.grad(function, argnums=(0, 1, 2), has_aux=True)
    (by_variable, by_input, by_result), results = derived(values, own, zeros)
    found = {variable.path: each for variable, each in zip(variables, by_variable, strict=True)}
    by_row = [by_result.get(index) for index in range(len(results))] if rows else []
    return results, [found.get(variable.path) for variable in trained], by_input, by_row


def _computed(model: Any) -> list[int]:
    """Which of a model's results are of an operation, and not an input itself."""
    inputs = {id(tensor) for tensor in model.inputs}
    return [index for index, tensor in enumerate(model.outputs) if id(tensor) not in inputs]


@contextmanager
def _disturbed(model: Any, added: Mapping[int, Any]) -> Iterator[None]:
    """Inside, these are added to what the operations give whose results are the model's of these numbers."""

    def plus(call: Callable[..., Any], more: Any) -> Callable[..., Any]:
        return lambda *given, **named: call(*given, **named) + more

    with ExitStack() as patches:
        for index, more in added.items():
            operation = model.outputs[index]._keras_history.operation  # noqa: SLF001 - nothing else tells it
            patches.enter_context(patch.object(operation, "call", plus(operation.call, more)))
        yield


DERIVE: dict[str, Callable[..., Derived]] = {
    "tensorflow": _by_tensorflow,
    "torch": _by_torch,
    "jax": _by_jax,
}


Learnt = tuple[Any, Any, Sequence[Any]]
"""The loss of a batch, the outputs that it reads, and its gradients by the trained variables; None is zero."""


def loss_gradients(objective: Any, given: Sequence[Any], labels: Any) -> Learnt:
    """What a batch of inputs and its labels teach an objective in training; running statistics move on."""
    return LEARN[keras.backend.backend()](objective, given if len(given) > 1 else given[0], labels)


def _learn_by_tensorflow(objective: Any, given: Any, labels: Any) -> Learnt:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = objective(given, training=True)
        loss = objective.compute_loss(y=labels, y_pred=outputs)
    return loss, outputs, tape.gradient(loss, [variable.value for variable in objective.trainable_variables])


def _learn_by_torch(objective: Any, given: Any, labels: Any) -> Learnt:
    import torch

    outputs = objective(given, training=True)
    loss = objective.compute_loss(y=labels, y_pred=outputs)
    weights = [variable.value for variable in objective.trainable_variables]
    return loss.detach(), outputs.detach(), torch.autograd.grad(loss, weights, allow_unused=True)


def _learn_by_jax(objective: Any, given: Any, labels: Any) -> Learnt:
    trained, fixed = (
        [variable.value for variable in variables]
        for variables in (objective.trainable_variables, objective.non_trainable_variables)
    )
    (loss, (outputs, moved)), found = _jax_program(objective)(trained, fixed, given, labels)
    for variable, value in zip(objective.non_trainable_variables, moved, strict=True):
        variable.assign(value)
    return loss, outputs, found


@lru_cache(maxsize=4)
def _jax_program(objective: Any) -> Any:
    """One compiled program, where every operation would be one by itself; those that were asked for last are kept."""
    import jax

    def function(trained: Sequence[Any], fixed: Sequence[Any], given: Any, labels: Any) -> Any:
        outputs, fixed = objective.stateless_call(trained, fixed, given, training=True)
        loss, _ = objective.stateless_compute_loss(trained, fixed, [], y=labels, y_pred=outputs)
        return loss, (outputs, fixed)

    return jax.jit(jax.value_and_grad(function, has_aux=True))


LEARN: dict[str, Callable[[Any, Any, Any], Learnt]] = {
    "tensorflow": _learn_by_tensorflow,
    "torch": _learn_by_torch,
    "jax": _learn_by_jax,
}
