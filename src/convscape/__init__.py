"""convscape: convolution arithmetic and batch normalization, sized, run and studied.

Importing the package loads the arithmetic alone, which needs the standard library only. The other
rooms are imported by name: `convscape.kernels` (NumPy, Numba), `convscape.ops` (torch),
`convscape.layers.keras`, `convscape.study`. `convscape.trace` reads whole models; its reader is
loaded when it is first asked for.
"""

from typing import Any

from convscape._version import __version__
from convscape.arithmetic import Geometry, InputError, Window

__all__ = ["Geometry", "InputError", "Window", "__version__", "trace"]


def __getattr__(name: str) -> Any:
    if name == "trace":
        from importlib import import_module

        return import_module("convscape.readers").trace
    raise AttributeError(f"module 'convscape' has no attribute {name!r}")
