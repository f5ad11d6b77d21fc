"""How much the caches hold: what is larger in all is written past them.

An ordinary store reads its cache line first, and leaves it in the place of another. Where a call
moves more than fits, neither is of use: what it writes has gone before anyone reads it. Written
past the caches it costs half the traffic, and what is read twice stays.
"""

import os
from functools import cache
from pathlib import Path

_USUAL = 32 << 20
_SHARE = 10 << 20
"""Bytes of the last cache that a core may count on.

A virtual machine is told of the whole cache of a processor that it has two cores of. Measured on
such ones: of 260 MiB (Emerald Rapids), batch normalization that moves 26 MB is as fast through the
caches as past them, with 51 MB past them takes 0.6 of the time, with 206 MB 0.55. Of 32 MiB (Zen 4)
past them takes 0.8 to 1.9 of the time with 13 to 17 MB, 0.8 to 1.4 with 26, 0.7 to 1.1 with more;
inference loses most, training gains.
"""
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@cache
def last_cache() -> int:
    """Bytes of the last cache that this machine's cores can count on.

    Those of the largest that a core reads through, 32 MiB where the system does not say.
    """
    return min(_largest()[0], _SHARE * (os.cpu_count() or 1))


@cache
def core_share() -> int:
    """Bytes of the last cache that are one core's while all others compute as well."""
    size, cores = _largest()
    return size // cores


@cache
def share_for_points() -> int:
    """Bytes of kernels, as Winograd's points, that a core can read again and again.

    Half its share of the last cache; 9 MiB where that is less, the limit found on AMD's Zen.
    """
    return max(9 << 20, core_share() // 2)


@cache
def _largest() -> tuple[int, int]:
    """Bytes of the largest cache that a core reads through, and the cores that share it."""
    found = []
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            text = (folder / "size").read_text().strip()
            size = int(text.rstrip("KMG")) * _UNITS.get(text[-1], 1)
            found.append((size, _count((folder / "shared_cpu_list").read_text())))
        except (OSError, ValueError):
            continue  # another one may say
    largest = max(found, default=(0, 1))
    return largest if largest[0] else (_USUAL, os.cpu_count() or 1)


def _count(listed: str) -> int:
    """How many are in a list such as 0-3,8.

    Example:
        >>> _count("0-3,8")
        5
    """
    ranges = [part.split("-") for part in listed.strip().split(",")]
    return sum(int(ends[-1]) - int(ends[0]) + 1 for ends in ranges)


def exceeds(moved: int) -> bool:
    """Whether a call that reads and writes this many bytes should write past the caches."""
    return moved >= last_cache()
