"""What a fused ReLU lets through, as two bounds; and the upper one as a pass of its own."""

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from convscape.kernels.cpu.bound import Launch
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.scratch import at_address
from convscape.kernels.cpu.threads import launch


def bounds(relu: bool | float) -> tuple[float, float]:
    """(low, high) of results: none without a ReLU, (0, inf) with it, (0, n) with ReLU-n.

    Example:
        >>> bounds(False), bounds(True), bounds(6.0)
        ((-inf, inf), (0.0, inf), (0.0, 6.0))
    """
    if isinstance(relu, bool):
        return (0.0 if relu else -inf), inf
    return 0.0, float(relu)


class Clipped:
    """A kernel's launches by what a fused ReLU lets through, each made when it is asked for.

    Args:
        make: The launch for these bounds.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[tuple[float, float]], Launch]) -> None:
        self._make, self._made = make, dict[tuple[float, float], Launch]()

    def __call__(self, relu: bool | float) -> Launch:
        """The launch with this ReLU, as `bounds` takes it."""
        limits = bounds(relu)
        launch = self._made.get(limits)
        if launch is None:
            launch = self._made[limits] = self._make(limits)
        return launch


@team
def _limit_part(part, parts, place, count, high, like):
    if divide(part, parts):
        return
    low, end = count * part // parts, count * (part + 1) // parts
    y = at_address(place, count, like)[low:end]
    for i in range(len(y)):
        y[i] = high if y[i] > high else y[i]  # NaN passes


def limit(place: int, count: int, high: float, dtype: Any, threads: int) -> None:
    """Take min(y, high) in place, for so many elements y at an address."""
    launch(_limit_part, threads, place, count, float(high), np.empty(0, dtype))
