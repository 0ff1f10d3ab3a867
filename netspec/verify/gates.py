"""What counts as equal: every tolerance of the verifier, each with its reason. Tests import them from here.

float64 is the proof. Where two programs compute the same formula in float64 they differ by rounding only, a few 1e-16
a layer; every difference of meaning that was ever measured between the frameworks (an epsilon, a slope, a padding, an
approximation) is 1e-9 or more. 1e-12 stands between the two.

float32 is the smoke test. Its error depends on the network, so no constant can judge it: the error that rounding causes
is predicted for this network, these weights and these inputs (`budget.py`), and the measured one is held against it.
"""

FLOAT64_GATE = 1e-12
"""Largest relative L2 error of a sample's value in float64, where rounding is not predicted to be larger."""

UNIT = 2.0**-24
"""Unit roundoff of float32: the relative error of one correctly rounded operation."""

SMALLEST = 2.0**-126
"""The smallest float32 with all its digits; what is below loses digits, and libraries may take it for zero."""

FLOAT64_UNIT = 2.0**-53
"""Unit roundoff of float64."""

FLOAT64_SMALLEST = 2.0**-1022
"""The smallest float64 with all its digits."""

BUDGET_FACTOR = 8.0
"""How often the predicted error the measured one may be. Correct libraries were measured at 1 to 2 and never above 3:
orders of summation, fused kernels and approximated exponentials differ, but not eightfold."""

FLOOR_UNITS = 4.0
"""A relative error below this many unit roundoffs is never blamed: an exponential alone may be wrong by two."""

DRAWS = 8
"""Noisy runs whose root mean square is the prediction. A value of few numbers needs them: with eight, one unlucky
rounding exceeds the factor once in fifty thousand times, with one draw it would one time in twelve."""

FOLDING_UNITS = 16.0
"""How many unit roundoffs of float32 the weights may be off by that an exporter put together from those of a BatchNorm
and of the layer before it: epsilon, the variance with it, its root, a quotient and a product round once each, or a
reciprocal root by two or three, and in the bias two sums. An epsilon of 1e-5 for 1e-3 changes a weight five hundred
times as much where the variance is 1."""

LOCKSTEP_GATE = 1e-9
"""Largest relative L2 distance of two backends' arrays in a float64 training. Each update adds rounding and carries on
what is there, while a wrong constant (an epsilon in the wrong place, a beta in float32) shows with 1e-8 or more at
once."""

UPDATE_GATE = 1e-12
"""Largest relative L2 error of a single float64 update, or loss, by the reference's formula."""

VANISHING = 1e-12
"""A gradient whose numbers are this much smaller than those of the network's largest is rounding alone, and so is a
running mean that is this much smaller than the deviations around it."""

GRADIENT_GATE = 1e-9
"""Largest relative L2 distance of two backends' float64 gradients of a weight, and of what they compute with a batch's
statistics from the reference. They pass the network forward and back, and rounding grows twice: up to 1e-14 was
measured in the zoo. What differs in meaning (a kink, a tie, a value that is taken for a constant) shows with 1e-6."""

SLOPE_GATE = 1e-6
"""Largest distance of a gradient's slope from that of the reference, relative to the gradient. Differences over a step
of 1e-6 lose half of the digits; what they may be off beyond that is seen from steps of other sizes and granted too."""
