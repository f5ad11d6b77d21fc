"""Pooling, as the table names it: the maximum and the average, forward and backward."""

from convscape.kernels.cpu.pool_average import average, bind_average
from convscape.kernels.cpu.pool_average_grad import average_grad, bind_average_grad
from convscape.kernels.cpu.pool_maximum import (
    bind_maximum,
    bind_maximum_only,
    maximum,
    maximum_only,
)
from convscape.kernels.cpu.pool_maximum_grad import bind_maximum_grad, maximum_grad, pick

__all__ = [
    "average",
    "average_grad",
    "bind_average",
    "bind_average_grad",
    "bind_maximum",
    "bind_maximum_grad",
    "bind_maximum_only",
    "maximum",
    "maximum_grad",
    "maximum_only",
    "pick",
]  # fmt: skip
