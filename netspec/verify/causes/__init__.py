"""Why a row is wrong: the reference is evaluated again with one thing changed, until it gives what was measured.

`explain` is what everything calls, `explain_two` what else may be asked where it finds nothing; `work` is what both may
cost; `table` lists the things that may be changed, one a row.
"""

from netspec.verify.causes.explain import explain
from netspec.verify.causes.pairs import explain_two
from netspec.verify.causes.work import SpentError, Work, products

__all__ = ["SpentError", "Work", "explain", "explain_two", "products"]
