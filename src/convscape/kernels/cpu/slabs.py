"""Sums that shares have each made for themselves, and their total."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from convscape.kernels.cpu import memory
from convscape.kernels.cpu.bound import Launch, place
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.scratch import at_address

_SPLIT_FROM = 1 << 16  # numbers of the total, about 20 microseconds of one thread


@team
def _total_part(part, parts, places, slabs, count, like):
    """A share of the total of two or more slabs of `count` numbers, from the addresses of both."""
    if divide(part, parts):
        return
    low, high = count * part // parts, count * (part + 1) // parts
    sums, total = at_address(places[0], slabs * count, like), at_address(places[1], count, like)
    total, first, second = total[low:high], sums[low:high], sums[count + low : count + high]
    for i in range(len(total)):
        total[i] = first[i] + second[i]
    for slab in range(2, slabs):
        more = sums[slab * count + low : slab * count + high]
        for i in range(len(total)):
            total[i] += more[i]


@dataclass(frozen=True, slots=True)
class Slabs:
    """Arrays of sums, one behind the other.

    Args:
        many: How many there are.
        count: Numbers of each.
        dtype: Their type.
        total: What adds them up, told where they and the total begin.
    """

    many: int
    count: int
    dtype: np.dtype[Any]
    total: Launch

    @staticmethod
    def of(many: int, count: int, dtype: Any, threads: int) -> "Slabs":
        """For so many slabs of `count` numbers, to be added up by these threads."""
        kind = np.dtype(dtype)
        team = threads if count >= _SPLIT_FROM else 1
        total = Launch(_total_part, team, (place(0), place(1)), many, count, np.empty(0, kind))
        return Slabs(many, count, kind, total)

    def fill(self, to: int, make: Callable[[int], None]) -> None:
        """Set what lies at an address to the total of what `make` makes, told where.

        Of one slab that is what it makes.
        """
        if self.many == 1:
            make(to)
            return
        room = memory.empty(self.many * self.count, self.dtype)  # lives as long as this call
        at = memory.address(room)
        make(at)
        self.total(at, to)
