"""One call, split among a team of threads; or run in place when one thread is asked for.

A kernel is a serial function `part(index, parts, *arguments)` that computes one of `parts` shares
of the output. Its parallel twin calls it from a `prange`. With one thread the part itself is
called; so it is in a process forked after a parallel call, such as a data loader's worker.
"""

import os
from collections.abc import Callable
from threading import Lock
from typing import Any

import numba

_workqueue = Lock()
_owner: int | None = None  # the process whose threads the team is


def launch(
    part: Callable[..., None], team: Callable[..., None], threads: int, *arguments: Any
) -> None:
    """Run a kernel on up to `threads` threads, leaving Numba's own setting as it was found.

    Args:
        part: `part(index, parts, *arguments)`, serial.
        team: `team(parts, *arguments)`, its parallel twin.
        threads: Threads wanted; no more are used than Numba was started with.
        arguments: What the kernel computes on.
    """
    global _owner
    threads = min(threads, numba.config.NUMBA_NUM_THREADS)
    # A forked process has none of its parent's threads, and OpenMP cannot start them again.
    if threads <= 1 or _owner not in (None, os.getpid()):
        part(0, 1, *arguments)
        return
    _owner = os.getpid()
    before = numba.get_num_threads()
    if threads != before:
        numba.set_num_threads(threads)
    try:
        if numba.threading_layer() == "workqueue":
            # Numba's own pool, used where OpenMP and TBB are missing, aborts the process when
            # two threads enter it at once.
            with _workqueue:
                team(threads, *arguments)
        else:
            team(threads, *arguments)
    finally:
        if threads != before:
            numba.set_num_threads(before)
