"""Where weights come from, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from netspec.data.settings import Origin


def origin_text(origin: Mapping[str, Any]) -> str:
    """Where weights come from, in a sentence, from what the build noted of them.

    >>> origin_text({"trained": False, "seed": 7})
    'Initial weights, drawn from seed 7; not trained.'
    >>> origin_text({"trained": False, "seed": 7, "imported": {"file": "base.onnx", "sha256": "", "all": False}})
    "Initial weights, the base's from base.onnx and the others drawn from seed 7; not trained."
    """
    imported = origin.get("imported")
    if not imported:
        initial = f"drawn from seed {origin.get('seed')}"
    elif imported["all"]:
        initial = f"from {imported['file']}"
    else:
        initial = f"the base's from {imported['file']} and the others drawn from seed {origin.get('seed')}"
    if not origin.get("trained"):
        return f"Initial weights, {initial}; not trained."
    train = origin["train"]
    optimizer, data = train["optimizer"], origin["data"]
    how = f"{train['loss']['name']}, {optimizer['name']} with learning rate {optimizer['learning_rate']:g}"
    begun = f"; the initial weights were {initial}" if imported else ""
    where = next(data[name] for name in get_args(Origin) if data.get(name))
    narrow = train.get("precision", "float32")
    computed = f", computed in {narrow}" if narrow != "float32" else ""
    epochs = f"{train['epochs']} epoch{'s' * (train['epochs'] > 1)}"
    return (
        f"Trained with {origin['trainer']} on {where}: {epochs}, batches of {train['batch_size']}, "
        f"{how} ({train['schedule']['name']}){computed}, seed {origin['seed']}; "
        f"the best epoch by {train['monitor']} was kept{begun}."
    )
