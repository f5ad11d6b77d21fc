"""convscape: convolution arithmetic and batch normalization, sized, run and studied.

Importing the package loads the arithmetic alone, which needs the standard library only. The other
rooms are imported by name: `convscape.kernels` (NumPy, Numba), `convscape.ops` (torch),
`convscape.layers.keras`, `convscape.study`.
"""

from convscape._version import __version__
from convscape.arithmetic import Geometry, InputError, Window

__all__ = ["Geometry", "InputError", "Window", "__version__"]
