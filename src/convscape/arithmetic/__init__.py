"""Exact integer arithmetic of convolutions and pooling; the standard library alone."""

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.padding import PADDING_NAMES, Padding, ceiled, resolve
from convscape.arithmetic.window import Window, transposed_window

__all__ = [
    "PADDING_NAMES",
    "Geometry",
    "InputError",
    "Padding",
    "Window",
    "ceiled",
    "resolve",
    "transposed_window",
]
