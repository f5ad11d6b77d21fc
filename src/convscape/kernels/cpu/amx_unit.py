"""Whether this process may use the CPU's matrix unit, AMX.

Linux lends the unit's registers, 8 KiB a thread, to processes that ask for them. Asking twice does
no harm: torch asks as well.

Source: Linux kernel documentation, "Using XSTATE features in user space applications"; Intel 64
and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18.
"""

import ctypes
import os
import platform
import sys
from functools import cache
from pathlib import Path

_ARCH_PRCTL = 158  # number of the system call on x86-64
_REQUEST = 0x1023  # ARCH_REQ_XCOMP_PERM
_TILE_DATA = 18  # the unit's registers among the processor's extended states
_FLAGS = {"amx_tile", "amx_bf16", "avx512f", "avx512vl"}
_OVERRIDES = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")


@cache
def missing() -> str | None:
    """Why the matrix unit cannot be used; None when it can, and the system has lent it."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "needs the matrix unit AMX, of Linux on x86-64"
    if _FLAGS - _flags():
        return "needs a CPU with the matrix unit AMX (bfloat16)"
    chosen = [name for name in _OVERRIDES if os.environ.get(name)]
    if chosen:
        return f"needs to know the CPU, which {chosen[0]} overrides"
    if ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) != 0:
        return "needs the matrix unit AMX, which the system does not lend"
    return None


def _flags() -> set[str]:
    """What the first core can; all cores' lines are long."""
    try:
        with Path("/proc/cpuinfo").open() as lines:
            flags = (line.partition(":")[2] for line in lines if line.startswith("flags"))
            return set(next(flags, "").split())
    except OSError:
        return set()
