"""The stage of weights that no training made: drawn from a seed, taken from a file, or left as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import __version__
from netspec.building.options import Options
from netspec.building.run import Run
from netspec.errors import Problem, SpecError
from netspec.importing.initial import Start
from netspec.network import Network
from netspec.outcome import Best
from netspec.storage.stages import EVALUATION, HISTORY, WEIGHTS, Stage, key_of
from netspec.weights import save

if TYPE_CHECKING:
    from netspec.training.settings import Monitor


def keep_or_draw(run: Run) -> None:
    """The weights that the folder has for this network, or initial ones; trained weights are never replaced."""
    known = run.folder.stages.get("weights")
    facts = known.facts if known else {}
    fits = facts.get("network") == run.network.digest
    if keeps(known, run.network, run.options):
        _check_kept(run, facts, fits=fits)
        run.progress("current", stage="weights")
        return
    kept = facts.get("seed") if fits else None
    seed = next(
        seed for seed in (run.options.seed, kept, run.spec.train.seed if run.spec.train else 0) if seed is not None
    )

    def write(folder: Path) -> None:
        for name in run.options.targets:
            run.worker(name)  # new weights will be exported: the frameworks may begin to load
        save(folder / WEIGHTS, run.start.weights(seed), run.network)

    facts = {"network": run.network.digest, "trained": False, "seed": seed, **imported_facts(run)}
    if run.start.facts.get("all"):
        facts["seed"] = None  # none was drawn from
    run.stage("weights", weights_key(facts), write, facts=facts)


def imported_facts(run: Run) -> dict[str, Any]:
    """What is to be known of a file of initial weights."""
    return {"imported": run.start.facts} if run.start.facts else {}


def weights_key(facts: Mapping[str, Any], **versions: Any) -> str:
    """The key of weights of which this is to be known; a file counts by what it holds, whatever its name."""
    return key_of(**weights_parts(facts, **versions))


def weights_parts(facts: Mapping[str, Any], **versions: Any) -> dict[str, Any]:
    """What the key is made of."""
    imported = {name: value for name, value in facts.get("imported", {}).items() if name != "file"}
    return {**facts, "imported": imported, **versions, "version": __version__}


def _check_kept(run: Run, facts: Mapping[str, Any], *, fits: bool) -> None:
    """Raise SpecError where the folder's trained or imported weights cannot be used as they are."""
    path, trained = run.folder.path, facts.get("trained")
    again = f"train again with `netspec build {run.spec.file}`, or work in another folder with --output"
    if not trained:
        again = f"import it again with --weights {facts['imported']['file']}, or draw weights with --seed"
    if not fits:
        raise SpecError([Problem(f"{path} has weights that were trained for another version of this network", again)])
    if WEIGHTS in run.folder.changed("weights"):
        since = "the training" if trained else "the import"
        raise SpecError([Problem(f"{path / WEIGHTS} is missing or was changed after {since}", again)])
    if run.options.weights is not None:
        message = f"--weights {run.options.weights}, but {path} has weights that were trained"
        raise SpecError([Problem(message, "work in another folder with --output")])
    if run.options.seed not in (None, facts.get("seed")):
        message = f"--seed {run.options.seed}, but {path} has weights that were trained from seed {facts.get('seed')}"
        raise SpecError([Problem(message, again)])


def know_weights(run: Run) -> None:
    """What is to be known of the weights: their seed, and the score of trained ones on the test split."""
    known = run.folder.stages["weights"]
    run.folder.facts |= {name: known.facts.get(name) for name in ("seed", "trained")}
    if HISTORY in known.files and HISTORY not in run.folder.changed("weights"):
        run.outcome.best = _best(run, known.facts["train"]["monitor"])
    if EVALUATION in known.files and EVALUATION not in run.folder.changed("weights"):
        from netspec.inference.evaluation import Evaluation

        document = json.loads((run.folder.path / EVALUATION).read_text(encoding="utf-8"))
        run.outcome.evaluation = Evaluation.of(document)


def _best(run: Run, monitor: Monitor) -> Best:
    """The best epoch of the history that lies in the folder."""
    from netspec.training.history import best_epoch, read_history

    history = read_history(run.folder.path / HISTORY)
    number = best_epoch(history, monitor)
    return Best(next(row for row in history if row["epoch"] == number), len(history), monitor)


def keeps(known: Stage | None, network: Network, options: Options) -> bool:
    """Whether a build that does not train leaves the weights of the folder as they are: trained ones always, those of
    a file until it is told otherwise.
    """
    facts = known.facts if known else {}
    imported = facts.get("imported", {}).get("all") and facts.get("network") == network.digest
    return bool(facts.get("trained") or (imported and options.weights is None and options.seed is None))


def check_start(start: Start, known: Stage | None) -> None:
    """Raise SpecError for a file of weights that does not fit, before anything is written; one that the folder has
    weights of has been read before.
    """
    facts = known.facts if known else {}
    if start.facts and (facts.get("imported"), facts.get("network")) != (start.facts, start.network.digest):
        _ = start.imported
