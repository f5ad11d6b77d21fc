"""Torch modules on this package's kernels: `convert(model)` trains, `accelerate(model)` infers."""

from convscape.layers.torch.accelerate import Accelerated, accelerate
from convscape.layers.torch.convert import convert
from convscape.layers.torch.modules import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
)
from convscape.layers.torch.sequential import Sequential

__all__ = [
    "Accelerated",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "MaxPool2d",
    "Sequential",
    "accelerate",
    "convert",
]
