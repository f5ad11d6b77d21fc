"""A word to the CPU: this cache line will be read soon.

Hardware foresees one long run of memory. Panels that are gathered from many short ones it does not;
there the next panel's lines are asked for while the present one is multiplied.
"""

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from convscape.kernels.cpu.jit import inlined
from convscape.kernels.cpu.memory import LINE

_SMALL, _BYTES = ir.IntType(32), ir.IntType(8).as_pointer()


def prefetch(builder: Any, place: Any, nearness: int, written: int = 0) -> None:
    """Emit the word for the line at a pointer; the nearest cache is number 3, the one behind it 2.

    An address outside is ignored, not an error.
    """
    kind = ir.FunctionType(ir.VoidType(), [_BYTES, _SMALL, _SMALL, _SMALL])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    numbers = (ir.Constant(_SMALL, v) for v in (written, nearness, 1))  # 1: it is data
    builder.call(function, [builder.bitcast(place, _BYTES), *numbers])


def _fetching(nearness: int, written: int = 0) -> Callable[..., None]:
    """An intrinsic `f(memory, at)`; see `prefetch`."""

    @intrinsic
    def apply(_context: Any, memory: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            array = context.make_array(sig.args[0])(context, builder, args[0])
            prefetch(builder, builder.gep(array.data, [args[1]]), nearness, written)
            return context.get_dummy_value()

        return types.void(memory, types.intp), generate

    return cast(Callable[..., None], apply)


fetch = _fetching(3)
"""Ask for the line that holds memory[at]; an address outside is ignored, not an error."""

fetch_far = _fetching(2)
"""`fetch` of what will be read later than the nearest cache would keep it: into the next one."""


fetch_to_write = _fetching(3, written=1)
"""`fetch` of a line that will be written."""


@inlined
def fetch_run(memory, at, count):
    """Ask for the lines of memory[at : at + count]."""
    for i in range(0, count, LINE // memory.itemsize):
        fetch(memory, at + i)


@inlined
def fetch_far_run(memory, at, count):
    """`fetch_run`, into the next cache."""
    for i in range(0, count, LINE // memory.itemsize):
        fetch_far(memory, at + i)
