"""An existing torch model on our kernels, for training or inference."""

from typing import TypeVar

from torch import nn

from convscape.layers.torch import modules
from convscape.layers.torch.sequential import Sequential

OURS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: modules.Conv2d,
    nn.ConvTranspose2d: modules.ConvTranspose2d,
    nn.MaxPool2d: modules.MaxPool2d,
    nn.AvgPool2d: modules.AvgPool2d,
    nn.BatchNorm2d: modules.BatchNorm2d,
    nn.Sequential: Sequential,
}
"""Stock modules and what computes the same on our kernels."""

Module = TypeVar("Module", bound=nn.Module)


def convert(module: Module) -> Module:
    """Let every stock layer of a model compute on our kernels, in place.

    A layer stays the object that it was and only changes its class, so that parameters, buffers,
    hooks, names, checkpoints and optimizers that were made before are untouched. Exactly torch's
    classes are changed: a subclass (a parametrized or quantized layer among them) has a forward
    of its own. A chain (`nn.Sequential`) takes a ReLU in one pass with the convolution or batch
    normalization before it. `convert(copy.deepcopy(model))` leaves the model as it was.

    Args:
        module: A model, or one layer.

    Returns:
        The same object.

    Example:
        >>> convert(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()))
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): ReLU()
        )
    """
    for each in module.modules():
        each.__class__ = OURS.get(type(each), type(each))
    return module


def restore(module: Module) -> Module:
    """The other way: torch's own classes, in place."""
    stock = {ours: theirs for theirs, ours in OURS.items()}
    for each in module.modules():
        each.__class__ = stock.get(type(each), type(each))
    return module
