"""Arrays that a kernel makes itself: on memory of its own, and on memory that it is told of."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from convscape.kernels.cpu.jit import maker
from convscape.kernels.cpu.memory import LINE


@maker
def scratch(count, like):
    """An uninitialised array of `count` elements of another's type that begins at a cache line.

    Numba's own may begin within one, where each vector is read from two lines and written to two.
    """
    size = like.itemsize
    block = np.empty(count + LINE // size, like.dtype)
    skip = (LINE - block.ctypes.data % LINE) % LINE // size
    return block[skip : skip + count]


@intrinsic
def at_address(_context: Any, address: Any, count: Any, like: Any) -> Any:
    """The array of `count` elements of another's type that begins at an address.

    Who calls from Python holds the memory meanwhile: to tell where a tensor's lies takes a quarter
    of the time that an array on it takes.
    """
    made = types.Array(like.dtype, 1, "C")

    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        array = context.make_array(made)(context, builder)
        kind = context.get_data_type(made.dtype)
        size = context.get_constant(types.intp, context.get_abi_sizeof(kind))
        populate_array(
            array,
            data=builder.inttoptr(args[0], kind.as_pointer()),
            shape=cgutils.pack_array(builder, [args[1]]),
            strides=cgutils.pack_array(builder, [size]),
            itemsize=size,
            meminfo=ir.Constant(ir.IntType(8).as_pointer(), None),
        )
        return array._getvalue()

    return made(types.intp, types.intp, like), generate
