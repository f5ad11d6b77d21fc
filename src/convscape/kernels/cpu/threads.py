"""One call, split among a team of threads; or run in place when one thread is asked for.

A kernel `f(part, parts, *arguments)` computes one of `parts` shares of the output. Given `ALL` it
calls itself for each of them, on the threads of OpenMP (see `convscape.kernels.cpu.divide`). Where
the process has no OpenMP with the entry that we use (Windows, macOS), Python's threads run the
shares; kernels do not hold the GIL.
"""

import ctypes
import ctypes.util
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from llvmlite import binding

from convscape.kernels.cpu import tape
from convscape.kernels.cpu.divide import ALL, RECORDER, SYMBOLS, alone, symbol
from convscape.kernels.cpu.room import TELL, room_of

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


# A forked process has none of its parent's threads, and OpenMP cannot start them again: a call
# with a team would wait for them forever. There, one thread computes whatever the setting.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def launch(kernel: Callable[..., None], threads: int, *arguments: Any) -> None:
    """Run a kernel in `threads` shares, each on a thread of its own.

    Args:
        kernel: `f(part, parts, *arguments)`, made by `convscape.kernels.cpu.jit.team`.
        threads: Threads wanted; a forked process has one, which computes all shares in turn.
        arguments: What the kernel computes on.
    """
    openmp = bind()
    if tape.active is not None and tape.active.pool.mine():
        tape.active.take(*room_of(kernel, max(threads, 1), arguments), arguments)
    if threads <= 1:
        kernel(alone(0), 1, *arguments)
    elif _forked:
        for i in range(threads):
            kernel(alone(i), threads, *arguments)
    elif openmp is not None:
        kernel(ALL, threads, *arguments)
    else:
        others = [_pool().submit(kernel, alone(i), threads, *arguments) for i in range(1, threads)]
        try:
            kernel(alone(0), threads, *arguments)
        finally:
            for other in others:
                other.result()


@cache
def bind() -> str | None:
    """Tell compiled code where OpenMP is: torch's own if torch is loaded, else the system's.

    Returns:
        The file it was looked up through, or None where there is none.
    """
    for path in _libraries():
        try:
            # A name is looked for in the file and in what it was linked with: through torch's
            # extension module that is the library whose threads torch uses.
            library = ctypes.CDLL(path)
            addresses = [ctypes.cast(getattr(library, name), ctypes.c_void_p) for name in SYMBOLS]
        except (OSError, AttributeError):
            continue
        _add(addresses)
        return path
    # Compiled code names them, so they must be somewhere; it is never run.
    _add([ctypes.cast(ctypes.pythonapi.Py_FatalError, ctypes.c_void_p)] * len(SYMBOLS))
    return None


def _libraries() -> list[str]:
    torch = sys.modules.get("torch")
    paths = [torch._C.__file__ if torch else None, ctypes.util.find_library("gomp")]
    return [path for path in paths if path]


def _add(addresses: list[ctypes.c_void_p]) -> None:
    told = ctypes.cast(TELL, ctypes.c_void_p)
    for name, address in zip((*SYMBOLS, RECORDER), (*addresses, told), strict=True):
        binding.add_symbol(symbol(name), address.value)


def forked() -> bool:
    """Whether this process has lost its parent's threads."""
    return _forked


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="convscape")
