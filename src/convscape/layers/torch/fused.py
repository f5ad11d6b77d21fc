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

    def __init__(self, layer: "_Constant") -> None:
        self.relu = layer.relu
        self.tensors = layer.weight, layer.bias
        self.state = self._state()
        weight = layer.weight if layer.weight.dim() == 4 else layer.weight[:, :, None, None]
        self.constant = ops.ConstantWeight(weight, copy=False)
        self.calls: dict[Any, Convolution] = {}

    def serves(self, layer: "_Constant") -> bool:
        """Whether the layer is as it was."""
        own = layer._parameters  # what `layer.weight` finds, by a longer way
        weight, bias = self.tensors
        same = own.get("weight") is weight and own.get("bias") is bias and layer.relu == self.relu
        return same and self._state() == self.state

    def _state(self) -> Any:
        weight, bias = self.tensors
        of_weight = weight.data_ptr(), weight._version
        return of_weight if bias is None else (of_weight, bias.data_ptr(), bias._version)


class _Constant(torch.nn.Module):
    """A layer that arranges its weight once, and remembers the inputs that it met."""

    weight: Tensor
    bias: Any
    relu: bool | float = False
    _kept: _Kept | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without what was made of the weight: a copy makes it again."""
        return {name: value for name, value in vars(self).items() if name != "_kept"}

    def _known(self, input: Tensor) -> Convolution | None:
        """The convolution for inputs of this kind, if it is known.

        A network's kernels empty the caches between layers, and then each step here costs a
        microsecond: so this is asked first.
        """
        kept = self._kept
        if kept is None or not calls.eager():
            return None
        call = kept.calls.get((kind(input), threads()))
        return call if call is not None and kept.serves(self) else None

    def _found(self, input: Tensor, image: Tensor, *setting: Any) -> Convolution:
        """The convolution of an image as chosen and packed, for inputs of this kind."""
        kept = self._kept
        if kept is None or not kept.serves(self):
            kept = self._kept = _Kept(self)
        call = kept.constant.convolution(image, self.bias, self.relu, *setting)
        if len(kept.calls) >= _INPUTS:
            kept.calls.clear()
        kept.calls[kind(input), threads()] = call
        return call


class FusedConv2d(_Constant, Conv2d):
    """A convolution, and a ReLU if `relu` is set; 6.0 is ReLU6."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W) to (N, K, H', W') or (K, H', W')."""
        call = self._known(input)
        if call is not None:
            return call(input)
        if self.padding_mode != "zeros":
            return rectified(super().forward(input), self.relu)
        given = self.stride, self.padding, self.dilation, self.groups
        if input.dim() == 4 and calls.covered(input) and not torch.compiler.is_compiling():
            return self._found(input, input, *given)(input)
        return calls.conv2d(input, self.weight, self.bias, *given, relu=self.relu)


class FusedLinear(_Constant, torch.nn.Linear):
    """A dense layer as a 1x1 convolution, and a ReLU if `relu` is set; 6.0 is ReLU6."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., C) to (..., K); what is not (N, C) is the stock module's."""
        call = self._known(input)
        if call is None:
            rows = input.dim() == 2 and input.shape[1] == self.in_features and len(input) > 0
            if not rows or not calls.covered(input) or torch.compiler.is_compiling():
                return rectified(super().forward(input), self.relu)
            call = self._found(input, input[:, :, None, None], 1, 0, 1, 1)
        return call(input[:, :, None, None])[:, :, 0, 0]


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
