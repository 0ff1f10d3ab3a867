"""Why a row is wrong: the reference is evaluated again with one thing changed, until it gives what was measured.

`explain` says it. What else may be asked of the same values, `single_cause` and then `pair_of_causes`, takes what
`judge_of` worked out once; `work` is what all of it may cost. `table` lists the things that may be changed, one a row.
"""

from netspec.verify.causes.explain import explain, judge_of, single_cause
from netspec.verify.causes.pairs import pair_of_causes
from netspec.verify.causes.work import SpentError, Work, products

__all__ = ["SpentError", "Work", "explain", "judge_of", "pair_of_causes", "products", "single_cause"]
