"""Runs of memory, copied as such."""

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def copy_run(_context: Any, source: Any, at: Any, target: Any, to: Any, count: Any) -> Any:
    """Set target[to : to + count] = source[at : at + count], without views or checks.

    A loop over an index that is not known to be positive is not vectorized, and a view of an array
    is counted.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointers = [
            builder.gep(context.make_array(sig.args[n])(context, builder, args[n]).data, [args[m]])
            for n, m in ((2, 3), (0, 1))
        ]
        cgutils.raw_memcpy(builder, *pointers, args[4], source.dtype.bitwidth // 8)
        return context.get_dummy_value()

    integer = types.intp
    return types.void(source, integer, target, integer, integer), generate
