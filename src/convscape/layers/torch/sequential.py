"""A chain of layers that takes a ReLU in the pass over memory of the layer before it."""

from itertools import zip_longest
from typing import Any

import torch
from torch import nn

from convscape.layers.torch import calls
from convscape.layers.torch.modules import BatchNorm2d, Conv2d

_RECTIFY = (Conv2d, BatchNorm2d)


class Sequential(nn.Sequential):
    """`torch.nn.Sequential` with the same layers, names and results.

    Where one of our convolutions or batch normalizations is followed by `torch.nn.ReLU`, and no
    hook watches either of the two, both are computed in one pass, forward and backward.

    Args:
        args: Layers, as `torch.nn.Sequential`.

    Example:
        >>> Sequential(Conv2d(3, 8, 3), nn.ReLU())(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 8, 6, 6])
    """

    def forward(self, input: Any) -> Any:
        """What the last layer makes of it all."""
        layers: list[Any] = list(self)
        taken = False
        for layer, following in zip_longest(layers, layers[1:]):
            if taken:
                taken = False
                continue
            taken = (
                type(layer) in _RECTIFY  # a subclass may compute something else
                and type(following) is nn.ReLU
                and not (_own(layer) or _own(following))
                and calls.covered(input)
            )
            input = layer.compute(input, relu=True) if taken else layer(input)
        return input


def _own(module: nn.Module) -> bool:
    """Whether a call does more than the class says: a hook, or a `forward` of this object."""
    hooks: Any = module
    everywhere: Any = torch.nn.modules.module
    return bool(
        "forward" in vars(module)
        or hooks._forward_hooks
        or hooks._forward_pre_hooks
        or hooks._backward_hooks
        or hooks._backward_pre_hooks
        or everywhere._has_any_global_hook()
    )
