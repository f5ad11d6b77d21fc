"""Pooling, as the table names it: the maximum and the average, forward and backward."""

from convscape.kernels.cpu.pool_average import average
from convscape.kernels.cpu.pool_average_grad import average_grad
from convscape.kernels.cpu.pool_maximum import maximum, maximum_only
from convscape.kernels.cpu.pool_maximum_grad import maximum_grad, pick

__all__ = ["average", "average_grad", "maximum", "maximum_grad", "maximum_only", "pick"]
