"""One call, split among a team of threads; or run in place when one thread is asked for.

A kernel is a serial function `part(index, parts, *arguments)` that computes one of `parts` shares
of the output. Its parallel twin calls it from a `prange`. With one thread the part itself is
called, so that a process forked after a parallel call (a data loader's worker) still works.
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

import numba

_workqueue = Lock()


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
    threads = min(threads, numba.config.NUMBA_NUM_THREADS)
    if threads <= 1:
        part(0, 1, *arguments)
        return
    before = numba.get_num_threads()
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
        numba.set_num_threads(before)
