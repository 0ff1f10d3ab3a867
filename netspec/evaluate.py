"""How good a network is on labelled images: the predictions of an exported artefact, judged in numpy."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from netspec.data.chosen import Chosen, image_samples
from netspec.network import Network
from netspec.predict import predict
from netspec.progress import Progress
from netspec.spec.model import Spec
from netspec.training.evaluation import TOP, Evaluation, judge_outputs
from netspec.training.loss import Loss, check_loss, default_loss

if TYPE_CHECKING:
    from netspec.running import Artefact


def loss_of(spec: Spec, network: Network) -> Loss:
    """The loss that a spec trains with, or one that suits the network's end.

    Raises SpecError for a network that is no classifier: one input, and one flat output with a number a class.
    """
    loss = spec.train.loss if spec.train is not None else default_loss(network)
    with spec.places():
        check_loss(network, loss)
    return loss


def judge(
    spec: Spec,
    network: Network,
    artefact: Artefact,
    chosen: Chosen,
    progress: Progress,
    top: Collection[int] = (TOP,),
) -> Evaluation:
    """What an artefact makes of images; raises SpecError where its outputs are not numbers, and as `predict` does."""
    loss = loss_of(spec, network)
    samples = image_samples(chosen, network, artefact.network, spec.preprocess)
    found = predict(artefact, samples, progress, "evaluation")
    [outputs] = found.outputs.values()
    names = network.classes or chosen.classes
    return judge_outputs(outputs, chosen.labels, network, loss, names, data=chosen.name, split=chosen.split, top=top)
