"""Why a row is wrong: the reference is evaluated again with one thing changed, until it gives what was measured.

`explain` says it. What else may be asked of the same values, `single_reason` and then `pair_of_reasons`, takes what
`judge_of` worked out once; `work` is what all of it may cost. `table` lists the things that may be changed, one a row.
"""

from netspec.verify.causes.explain import Reason, explain, judge_of, single_reason
from netspec.verify.causes.pairs import pair_of_reasons
from netspec.verify.causes.work import SpentError, Work, products

__all__ = ["Reason", "SpentError", "Work", "explain", "judge_of", "pair_of_reasons", "products", "single_reason"]
