"""Modules that only an accelerated model has: a layer and what follows it, in one pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convscape import ops
from convscape.layers.torch import calls
from convscape.layers.torch.modules import BatchNorm2d, Conv2d
from convscape.ops.conv import rectified

Convolution = Callable[[Tensor], Tensor]

_SHAPES = 64
"""Shapes of inputs that a layer remembers."""


class FusedConv2d(Conv2d):
    """A convolution, and a ReLU if `relu` is set; 6.0 is ReLU6."""

    relu: bool | float = False
    _kept: tuple[Any, ops.ConstantWeight, dict[torch.Size, Convolution]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what was made of the weight: a copy makes it again."""
        return {name: value for name, value in vars(self).items() if name != "_kept"}

    def _convolution(self, input: Tensor) -> Convolution:
        """The convolution as chosen and packed for inputs of this shape.

        It is kept for as long as nobody writes to the weight and the bias.
        """
        tensors = (self.weight,) if self.bias is None else (self.weight, self.bias)
        state = self.relu, *((t.data_ptr(), t._version, t.dtype) for t in tensors)
        if self._kept is None or self._kept[0] != state or input.dtype != self.weight.dtype:
            self._kept = state, ops.ConstantWeight(self.weight, copy=False), {}
        _, constant, known = self._kept
        call = known.get(input.shape)
        if call is None:
            if len(known) >= _SHAPES:
                known.clear()
            given = self.stride, self.padding, self.dilation, self.groups
            call = known[input.shape] = constant.convolution(input, self.bias, self.relu, *given)
        return call

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W) to (N, K, H', W') or (K, H', W')."""
        if self.padding_mode != "zeros":
            return rectified(super().forward(input), self.relu)
        if input.dim() == 4 and calls.covered(input) and not torch.compiler.is_compiling():
            return self._convolution(input)(input)
        return calls.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
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

    relu: bool | float = False

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Any, **named: Any) -> Any:
        """Call it."""
        return self.function(*given, **named, **({"relu": self.relu} if self.relu else {}))

    def extra_repr(self) -> str:
        """The function's name."""
        return self.function.__name__ + (", relu" if self.relu else "")


def add_into(y: Tensor, other: Tensor) -> Tensor:
    """The sum, in the memory of y where it fits."""
    fits = isinstance(other, Tensor) and y.shape == other.shape and y.dtype == other.dtype
    return y.add_(other) if fits else y + other
