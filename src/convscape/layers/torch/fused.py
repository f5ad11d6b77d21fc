"""Modules that only an accelerated model has: a layer and what follows it, in one pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convscape import ops
from convscape.layers.torch import calls
from convscape.layers.torch.modules import BatchNorm2d, Conv2d


class FusedConv2d(Conv2d):
    """A convolution, and a ReLU if `relu` is set."""

    relu = False
    _constant: tuple[tuple[int, int], ops.ConstantWeight] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what kernels made of the weight: a copy makes it again."""
        return {name: value for name, value in vars(self).items() if name != "_constant"}

    def _weight(self) -> ops.ConstantWeight:
        """The weight as kernels have packed it, for as long as it is not written to."""
        state = self.weight.data_ptr(), self.weight._version
        if self._constant is None or self._constant[0] != state:
            self._constant = state, ops.ConstantWeight(self.weight, copy=False)
        return self._constant[1]

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W) to (N, K, H', W') or (K, H', W')."""
        if self.padding_mode != "zeros":
            y = super().forward(input)
            return torch.relu_(y) if self.relu else y
        weight: Tensor | ops.ConstantWeight = self.weight
        if calls.covered(input) and not torch.compiler.is_compiling():
            weight = self._weight()
        return calls.conv2d(
            input, weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            relu=self.relu,
        )  # fmt: skip


class FusedBatchNorm2d(BatchNorm2d):
    """Batch normalization in evaluation, plus a residual if given, and a ReLU if `relu` is set."""

    relu = False

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """(N, C, H, W) to the same."""
        self._check_input_dim(input)
        return calls.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.running_mean is None, 0.0, self.eps, relu=self.relu, residual=residual,
        )  # fmt: skip


class Call(torch.nn.Module):
    """A function as a module, so that a traced graph can be pickled and traced again."""

    relu = False

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Any, **named: Any) -> Any:
        """Call it."""
        return self.function(*given, **named, **({"relu": True} if self.relu else {}))

    def extra_repr(self) -> str:
        """The function's name."""
        return self.function.__name__ + (", relu" if self.relu else "")


def add_into(y: Tensor, other: Tensor) -> Tensor:
    """The sum, in the memory of y where it fits."""
    fits = isinstance(other, Tensor) and y.shape == other.shape and y.dtype == other.dtype
    return y.add_(other) if fits else y + other
