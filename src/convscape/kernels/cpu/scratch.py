"""A kernel's own arrays, on cache lines."""

import numpy as np

from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.memory import LINE


@kernel
def scratch(count, like):
    """An uninitialised array of `count` elements of another's type that begins at a cache line.

    Numba's own may begin within one, where each vector is read from two lines and written to two.
    """
    size = like.itemsize
    block = np.empty(count + LINE // size, like.dtype)
    skip = (LINE - block.ctypes.data % LINE) % LINE // size
    return block[skip : skip + count]
