"""How much the caches hold: what is larger in all is written past them.

An ordinary store reads its cache line first, and leaves it in the place of another. Where a call
moves more than fits, neither is of use: what it writes has gone before anyone reads it. Written
past the caches it costs half the traffic, and what is read twice stays.
"""

from functools import cache
from pathlib import Path

_USUAL = 32 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@cache
def last_cache() -> int:
    """Bytes of the largest cache that a core reads through; 32 MiB where the system keeps it."""
    found = [0]
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        try:
            text = file.read_text().strip()
            found.append(int(text.rstrip("KMG")) * _UNITS.get(text[-1], 1))
        except (OSError, ValueError):
            continue  # another one may say
    return max(found) or _USUAL


def exceeds(moved: int) -> bool:
    """Whether a call that reads and writes this many bytes should write past the caches."""
    return moved >= last_cache()
