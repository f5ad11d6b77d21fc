"""Images and models for the tests of torch layers."""

from typing import Any

import torch
from torch import nn


def image(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normal numbers, the same for every type."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def small() -> nn.Sequential:
    """One layer of each kind, for images of 3x12x12."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.ReLU(inplace=True), nn.AvgPool2d(2),
        nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip


def shaken(model: Any) -> Any:
    """Running statistics and affine parameters that folding must not forget."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            for t in (module.running_var, module.weight, module.running_mean, module.bias):
                if t is not None:
                    t.data = torch.rand(t.shape, generator=generator) / 2 + 0.75
            assert module.running_mean is not None
            module.running_mean -= 0.75
    return model
