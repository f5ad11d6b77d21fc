"""Modules that only an accelerated model has: a layer and what follows it, in one pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convscape import ops
from convscape.kernels.cpu.add import add
from convscape.layers.torch import calls
from convscape.layers.torch.modules import BatchNorm2d, Conv2d
from convscape.ops.bridge import array, kind, threads
from convscape.ops.conv import rectified

Convolution = Callable[[Tensor], Tensor]

_INPUTS = 64
"""Kinds of inputs that a layer remembers."""


class _Kept:
    """What a layer made of its weight, for as long as nobody writes to the weight and the bias."""

    def __init__(self, layer: "FusedConv2d") -> None:
        self.relu = layer.relu
        self.tensors = layer.weight, layer.bias
        self.state = self._state()
        self.constant = ops.ConstantWeight(layer.weight, copy=False)
        self.calls: dict[Any, Convolution] = {}

    def serves(self, layer: "FusedConv2d") -> bool:
        """Whether the layer is as it was."""
        own = layer._parameters  # what `layer.weight` finds, by a longer way
        weight, bias = self.tensors
        same = own.get("weight") is weight and own.get("bias") is bias and layer.relu == self.relu
        return same and self._state() == self.state

    def _state(self) -> Any:
        weight, bias = self.tensors
        of_weight = weight.data_ptr(), weight._version
        return of_weight if bias is None else (of_weight, bias.data_ptr(), bias._version)


class FusedConv2d(Conv2d):
    """A convolution, and a ReLU if `relu` is set; 6.0 is ReLU6."""

    relu: bool | float = False
    _kept: _Kept | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what was made of the weight: a copy makes it again."""
        return {name: value for name, value in vars(self).items() if name != "_kept"}

    def _convolution(self, input: Tensor) -> Convolution:
        """The convolution as chosen and packed for inputs of this kind."""
        kept = self._kept
        if kept is None or not kept.serves(self):
            kept = self._kept = _Kept(self)
        given = self.stride, self.padding, self.dilation, self.groups
        call = kept.constant.convolution(input, self.bias, self.relu, *given)
        if len(kept.calls) >= _INPUTS:
            kept.calls.clear()
        kept.calls[kind(input), threads()] = call
        return call

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W) to (N, K, H', W') or (K, H', W')."""
        # A network's kernels empty the caches between layers, and then each step here costs a
        # microsecond: what is known of such an input is asked for first.
        kept = self._kept
        if kept is not None and calls.eager():
            call = kept.calls.get((kind(input), threads()))
            if call is not None and kept.serves(self):
                return call(input)
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


def add_into(y: Tensor, other: Tensor, *, relu: bool = False) -> Tensor:
    """The sum, in the memory of y where it fits, with a ReLU behind it if asked for."""
    fits = isinstance(other, Tensor) and y.shape == other.shape and y.dtype == other.dtype
    if fits and calls.lie_alike(y, other):
        add(array(y), array(other), relu, threads())
        return y
    y = y.add_(other) if fits else y + other
    return torch.relu_(y) if relu else y
