"""What each PyTorch function does to a tensor: every rule, by the name of the function.

torch.fx names functions as they are called (torch.relu, F.conv2d, Tensor.view), torch.export as
ATen operators (aten.conv2d.default); both end up here under one name. PyTorch itself is not
needed: tensors are nodes, weights are shapes, and sizes are plain integers.

Source: the signatures in PyTorch's documentation, torch.nn.functional and torch.Tensor.
"""

from collections.abc import Callable, Mapping
from typing import Any

from convscape.readers.torch.cells import CELLS
from convscape.readers.torch.dense import ATEN_DENSE, DENSE
from convscape.readers.torch.order import ORDER
from convscape.readers.torch.windows import ATEN_WINDOWS, WINDOWS

FUNCTIONS: Mapping[str, Callable[..., Any]] = {**WINDOWS, **CELLS, **DENSE, **ORDER}
"""A rule for each function and method, by the name it is called by."""


ATEN: Mapping[str, Callable[..., Any]] = {**FUNCTIONS, **ATEN_WINDOWS, **ATEN_DENSE}
"""The same for ATen operators, some of which order arguments or results otherwise."""
