"""Pooling, as the table names it: the maximum and the average, forward and backward."""

from convscape.kernels.cpu.pool_average import average, average_grad
from convscape.kernels.cpu.pool_maximum import maximum, maximum_grad, pick

__all__ = ["average", "average_grad", "maximum", "maximum_grad", "pick"]
