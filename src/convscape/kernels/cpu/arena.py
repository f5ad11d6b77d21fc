"""One block of memory for arrays that live at different times: they lie over each other.

The less memory a network's activations take, the more of it is in the caches when it is read.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Life:
    """What is known of an array.

    Args:
        size: Its bytes.
        begin: When it is first needed.
        end: When it no longer is: another one may begin then. None where that was not seen.
    """

    size: int
    begin: int
    end: int | None = None

    def meets(self, other: "Life") -> bool:
        """Whether both are needed at one time."""
        return (other.end is None or self.begin < other.end) and (
            self.end is None or other.begin < self.end
        )


def arrange(lives: Sequence[Life]) -> tuple[list[int], int]:
    """Where each array lies in a block, and the bytes of the block.

    The largest is placed first, each at the lowest place that nobody has while it lives.

    Args:
        lives: Of the arrays.

    Returns:
        Offsets in bytes, in the order given, and the bytes that hold all.

    Source: Y. Pisarchyk and J. Lee, arXiv 2001.03288 (offsets, greedy by size).

    Example:
        >>> arrange([Life(64, 0, 2), Life(128, 1, 3), Life(64, 2, 4)])
        ([128, 0, 128], 192)
    """
    offsets = [0] * len(lives)
    placed: list[int] = []  # from the lowest place on
    for i in sorted(range(len(lives)), key=lambda i: -lives[i].size):
        for j in placed:
            if lives[j].meets(lives[i]):
                if offsets[j] - offsets[i] >= lives[i].size:
                    break
                offsets[i] = max(offsets[i], offsets[j] + lives[j].size)
        insort(placed, i, key=offsets.__getitem__)
    ends = (at + life.size for at, life in zip(offsets, lives, strict=True))
    return offsets, max(ends, default=0)
