"""Weights that others trained: a file of theirs in, the canonical weights of a network out.

`load_weights` is what everything calls that is given a file of weights; `import_weights` also says how it was read.
"""

from netspec.importing.file import Imported, NotFiniteError, check_file, import_weights, load_weights
from netspec.importing.folded import Folding, put_together

__all__ = [
    "Folding",
    "Imported",
    "NotFiniteError",
    "check_file",
    "import_weights",
    "load_weights",
    "put_together",
]
