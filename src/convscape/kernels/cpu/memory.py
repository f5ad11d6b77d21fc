"""Arrays on cache lines, in memory that is kept for the next call.

A large array fresh from the system costs more than the kernel that fills it: each page is zeroed
by the system when it is first touched. So blocks of freed arrays that the allocator would give back
to the system are kept, up to `LIMIT` bytes in all, and handed out again. An array's memory comes
back when the array and all its views (torch tensors among them) are gone; nothing is ever shared by
two of them.
"""

import atexit
import ctypes
import os
from collections import OrderedDict, deque
from itertools import count
from threading import Lock, get_ident
from typing import Any

import numpy as np

from convscape.arithmetic.errors import InputError
from convscape.kernels.cpu.arena import Life, arrange
from convscape.kernels.cpu.available import available, physical

Array = np.ndarray[Any, np.dtype[Any]]

LINE = 64
"""Bytes of a cache line, and of the widest vector."""

_Byte = ctypes.c_char

_ALIGNED_FROM = 16 << 10  # bytes that take longer to use across lines than an address to find
_ASK_FROM = 256 << 20  # bytes of a block that may not fit in memory
_STEPS = 8  # sizes an octave: at most an eighth of a block is unused


def _kept_from() -> int:
    """Bytes of a block worth keeping: smaller ones the system's allocator keeps itself.

    The GNU C library maps a block apart and unmaps it when it is freed; from then on it keeps
    blocks of that size, and at the end of its heap free memory of twice that size, more of which it
    gives back (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD). So it is shown one large block,
    which is never touched; and blocks of which a training step frees more than 62 MiB at once are
    ours to keep. Of other libraries nothing is assumed.
    """
    try:
        gnu = os.confstr("CS_GNU_LIBC_VERSION")
    except (AttributeError, ValueError, OSError):
        gnu = None
    if not gnu:
        return 256 << 10
    np.empty(31 << 20, np.uint8)  # freed at once; the library learns from blocks below 32 MiB
    return 4 << 20


_KEPT_FROM = _kept_from()


LIMIT = physical() // 8
"""Bytes of free blocks that are kept at most."""


class _Store:
    """Free blocks by size; the one that has waited longest goes first when there are too many."""

    def __init__(self) -> None:
        self.held = 0
        self._lock = Lock()
        self._by_address: OrderedDict[int, Array] = OrderedDict()  # the oldest first
        self._by_size: dict[int, list[int]] = {}
        # A block may come back while the lock is held, from the garbage collector in this very
        # thread: it then waits here for whoever takes the lock next.
        self._returned: deque[tuple[int, Array]] = deque()
        # At the interpreter's end modules go before the last arrays do.
        self._closed = False
        atexit.register(self._close)

    def take(self, size: int) -> tuple[int, Array] | None:
        with self._lock:
            if self._returned:
                self._sort_in()
            addresses = self._by_size.get(size)
            if not addresses:
                return None
            self.held -= size
            address = addresses.pop()
            return address, self._by_address.pop(address)

    def give(self, address: int, block: Array) -> None:
        if self._closed:
            return
        self._returned.append((address, block))
        if self._lock.acquire(blocking=False):
            try:
                self._sort_in()
            finally:
                self._lock.release()

    def _close(self) -> None:
        self._closed = True

    def clear(self) -> None:
        with self._lock:
            self._sort_in()
            self._by_address.clear()
            self._by_size.clear()
            self.held = 0

    def _sort_in(self) -> None:
        while self._returned:
            address, block = self._returned.popleft()
            self._by_address[address] = block
            self._by_size.setdefault(block.nbytes, []).append(address)
            self.held += block.nbytes
        while self.held > LIMIT:
            address, oldest = self._by_address.popitem(last=False)
            self._by_size[oldest.nbytes].remove(address)
            self.held -= oldest.nbytes


_store = _Store()


class Pool:
    """Memory of one recording (`convscape.kernels.cpu.tape`), which is never given to others.

    Blocks that are freed while it is made are used again by what is recorded next, as they will be
    when it is played. Whatever else has told its address meanwhile is held.
    """

    def __init__(self) -> None:
        self.blocks: dict[int, Array] = {}
        self._free: dict[int, list[int]] = {}
        self._held: list[object] = []
        self._thread = get_ident()
        self._lives: list[Life] = []
        self._living: dict[int, Life] = {}  # by address
        self._time = count()
        self._places: deque[tuple[int, Array]] = deque()  # of what will be asked for

    def arranged(self) -> "Pool":
        """A pool for the same recording once more, that asks for the same arrays in this order.

        They lie in one block, over each other where they live at different times.
        """
        other = Pool()
        offsets, size = arrange(self._lives)
        if size:
            check(size)
            block = _Block((size + LINE,), np.uint8)
            begin = _begin(block)
            other.blocks[begin] = block
            for life, at in zip(self._lives, offsets, strict=True):
                at += -begin % LINE
                other._places.append((begin + at, block[at : at + life.size]))
        return other

    def mine(self) -> bool:
        """Whether it is this thread that records."""
        return get_ident() == self._thread

    def owns(self, place: int) -> bool:
        """Whether an address lies in one of the blocks."""
        return any(0 <= place - begin < block.nbytes for begin, block in self.blocks.items())

    def hold(self, thing: object, place: int) -> None:
        """Keep what lies at an address, if that is not in a block."""
        if not self.owns(place):
            self._held.append(thing)

    def take(self, size: int) -> tuple[int, Array]:
        """A block of so many bytes, and where it begins."""
        if self._places:
            if self._places[0][1].nbytes == size:
                return self._places.popleft()
            self._places.clear()  # it is another recording after all
        free = self._free.get(size)
        if free:
            begin = free.pop()
        else:
            check(size)
            made: Array = _Block((size,), np.uint8)
            begin = _begin(made)
            self.blocks[begin] = made
        self._living[begin] = life = Life(size, next(self._time))
        self._lives.append(life)
        return begin, self.blocks[begin]

    def give(self, address: int, block: Array) -> None:
        """A block that is free again."""
        life = self._living.pop(address, None)
        if life is not None:  # else its place is known
            life.end = next(self._time)
            self._free.setdefault(block.nbytes, []).append(address)


pool: Pool | None = None
"""Where the memory comes from of a thread that records, when one does."""


def recorded() -> Pool | None:
    """The pool, if it is this thread that records."""
    return pool if pool is not None and pool.mine() else None


class _Block(np.ndarray[Any, Any]):
    """A block; and a block in use, as the base of the array on it, which lives as long as any view.

    NumPy gives a view the base of its array's base instead, unless that is of another class: so
    both are of this one.
    """

    address = 0
    block: Array | None = None  # of one in use
    home: _Store | Pool  # likewise

    def __del__(self) -> None:
        if self.block is not None:
            self.home.give(self.address, self.block)


def empty(count: int, dtype: Any) -> Array:
    """An uninitialised one-dimensional array; one of 16 KiB or more begins at a cache line.

    Args:
        count: Elements.
        dtype: Element type.

    Returns:
        The array; its memory returns to the store when it and its views are gone.

    Raises:
        InputError: The machine has less memory available than asked for.
    """
    dtype = np.dtype(dtype)
    size = count * dtype.itemsize
    own = recorded()
    if own is None:
        if size < _ALIGNED_FROM:
            return np.empty(count, dtype)
        if size < _KEPT_FROM:
            small = np.empty(size + LINE, np.uint8)
            return np.ndarray((count,), dtype, small, -_begin(small) % LINE)
    if own is not None:
        found = own.take(-(-size // LINE) * LINE + LINE)
    else:
        rounded = _rounded(size + LINE)
        kept = _store.take(rounded)
        if kept is None:
            check(size)
            made: Array = _Block((rounded,), np.uint8)
            kept = _begin(made), made
        found = kept
    begin, block = found
    base = _Block((count,), dtype, block, -begin % LINE)
    base.address, base.block, base.home = *found, own or _store
    return base.view(np.ndarray)


def keeps(size: int) -> bool:
    """Whether a block of so many bytes is kept here when it is freed, and not by the allocator."""
    return size >= _KEPT_FROM


def check(size: int) -> None:
    """Refuse a block that would not fit, before anything is allocated.

    Raises:
        InputError: The machine has less memory available than `size` bytes.
    """
    if size < _ASK_FROM:
        return
    left = available()
    if size > left + _store.held:
        raise InputError(
            "a result or workspace must fit in memory",
            f"{size:,} bytes asked for, {left:,} available",
            "use a smaller batch or image",
        )
    if size > left:
        release()


def held() -> int:
    """Bytes of free memory that are kept for later calls."""
    return _store.held


def release() -> None:
    """Give all memory that is kept back to the system."""
    _store.clear()


def address(array: Array) -> int:
    """Where an array begins; while this thread records, the array is held from then on."""
    place = _begin(array)
    own = recorded()
    if own is not None:
        own.hold(array, place)
    return place


def _begin(array: Array) -> int:
    """Where an array begins; a contiguous one that can be written is the quickest to ask."""
    try:
        return ctypes.addressof(_Byte.from_buffer(array.data))
    except (TypeError, ValueError):  # of no bytes, for reading only, or with gaps
        found: int = array.__array_interface__["data"][0]
        return found


def _rounded(size: int) -> int:
    """The next of `_STEPS` sizes an octave."""
    step = 1 << max(0, size.bit_length() - 1 - (_STEPS.bit_length() - 1))
    return -(-size // step) * step
