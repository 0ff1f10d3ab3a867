"""Why a row is wrong: the reference is evaluated again with one thing changed, until it gives what was measured.

`explain` is what everything calls; `table` lists the things that may be changed, one a row.
"""

from netspec.verify.causes.explain import explain

__all__ = ["explain"]
