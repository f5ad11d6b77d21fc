"""What a kernel starts its team with: code, and a room that holds the arguments.

See `convscape.kernels.cpu.divide`: called with `RECORD`, a kernel tells it, and computes nothing.
"""

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from convscape.kernels.cpu.divide import RECORD

_told = threading.local()


def room_of(
    kernel: Callable[..., None], shares: int, arguments: tuple[Any, ...]
) -> tuple[int, bytes]:
    """The address of the code that computes the shares, and the room's contents.

    The room has the addresses of arrays among the arguments, and holds none of them.
    """
    _told.room = None
    kernel(RECORD, shares, *arguments)
    assert _told.room is not None, "a kernel begins with divide"
    room: tuple[int, bytes] = _told.room
    return room


def _tell(body: int, room: int, size: int) -> None:
    _told.room = body, ctypes.string_at(room, size)


TELL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(_tell)
"""What a kernel calls that is asked: code, room, bytes."""
