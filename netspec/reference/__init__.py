"""What every layer means, executable: an interpreter in numpy float64, written from the meaning and no framework."""

from netspec.reference import activation, conv, dense, dropout, image, merge, norm, pool, shape
from netspec.reference.interpreter import Disturbance, evaluate, evaluate_node, evaluate_parts, interpret
from netspec.reference.table import rules

FAMILIES = (activation, conv, dense, dropout, image, merge, norm, pool, shape)

__all__ = ["FAMILIES", "Disturbance", "evaluate", "evaluate_node", "evaluate_parts", "interpret", "rules"]
