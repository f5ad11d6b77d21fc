"""What each ONNX operator does to a tensor: every rule, by the operator's name."""

from collections.abc import Mapping

from convscape.readers.onnx.call import Rule
from convscape.readers.onnx.cells import CELLS
from convscape.readers.onnx.order import ORDER
from convscape.readers.onnx.windows import WINDOWS

OPERATORS: Mapping[str, Rule] = {**WINDOWS, **CELLS, **ORDER}
"""A rule for each operator; one that is not here is unknown."""
