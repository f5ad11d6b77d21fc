"""The networks that are measured, as torch modules, written from the tables of their papers.

Weights are random (a fixed seed, scaled so that activations keep their size): time does not depend
on them. Parameter counts are those published for torchvision's models (Inception-v3 without its
auxiliary classifier).
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from convscape.layers.torch import accelerate, convert

Pair = int | tuple[int, int]


class _Branches(nn.Module):
    """Branches on one input, concatenated along channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class _Residual(nn.Module):
    """y = after(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut, after

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W)."""
        y: Tensor = self.after(self.body(x) + self.shortcut(x))
        return y


def _unit(
    c: int, k: int, kernel: Pair, stride: int = 1, padding: Pair = 0, groups: int = 1,
    act: Callable[[], nn.Module] | None = nn.ReLU, eps: float = 1e-5,
) -> nn.Sequential:  # fmt: skip
    """Convolution, batch normalization, activation."""
    conv = nn.Conv2d(c, k, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(k, eps), *([] if act is None else [act()]))


def _head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]


def vgg16() -> nn.Module:
    """VGG-16, arXiv 1409.1556, table 1, column D."""
    layers: list[nn.Module] = []
    c = 3
    for repeats, k in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(repeats):
            layers += [nn.Conv2d(c, k, 3, padding=1), nn.ReLU()]
            c = k
        layers.append(nn.MaxPool2d(2))
    dense = [nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *dense, nn.Linear(4096, 1000))


def resnet50() -> nn.Module:
    """ResNet-50, arXiv 1512.03385, table 1; the stride is on the 3x3 convolution ("v1.5")."""
    layers: list[nn.Module] = [_unit(3, 64, 7, 2, 3), nn.MaxPool2d(3, 2, 1)]
    c = 64
    for stage, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512))):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            body = nn.Sequential(
                _unit(c, width, 1),
                _unit(width, width, 3, stride, 1),
                _unit(width, 4 * width, 1, act=None),
            )
            same = c == 4 * width
            shortcut = nn.Identity() if same else _unit(c, 4 * width, 1, stride, act=None)
            layers.append(_Residual(body, shortcut, nn.ReLU()))
            c = 4 * width
    return nn.Sequential(*layers, *_head(c))


def mobilenet_v2() -> nn.Module:
    """MobileNet-v2, arXiv 1801.04381, table 2."""
    layers: list[nn.Module] = [_unit(3, 32, 3, 2, 1, act=nn.ReLU6)]
    c = 32
    # Expansion, output channels, blocks, stride of the first.
    for t, k, blocks, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for block in range(blocks):
            s = stride if not block else 1
            wide = t * c
            body = nn.Sequential(
                *([] if t == 1 else [_unit(c, wide, 1, act=nn.ReLU6)]),
                _unit(wide, wide, 3, s, 1, wide, nn.ReLU6),
                _unit(wide, k, 1, act=None),
            )
            residual = s == 1 and c == k
            layers.append(_Residual(body, nn.Identity(), nn.Identity()) if residual else body)
            c = k
    return nn.Sequential(*layers, _unit(c, 1280, 1, act=nn.ReLU6), *_head(1280))


def inception_v3() -> nn.Module:
    """Inception-v3, arXiv 1512.00567, table 1 and figures 5 to 7; 299x299 images."""

    def unit(c: int, k: int, kernel: Pair, stride: int = 1, padding: Pair = 0) -> nn.Module:
        return _unit(c, k, kernel, stride, padding, eps=1e-3)

    def wide(c: int, k: int, n: int = 7) -> nn.Module:
        return unit(c, k, (1, n), padding=(0, n // 2))

    def tall(c: int, k: int, n: int = 7) -> nn.Module:
        return unit(c, k, (n, 1), padding=(n // 2, 0))

    def pooled(c: int, k: int) -> nn.Module:
        return nn.Sequential(nn.AvgPool2d(3, 1, 1), unit(c, k, 1))

    def at35(c: int, k: int) -> nn.Module:
        return _Branches(
            unit(c, 64, 1),
            nn.Sequential(unit(c, 48, 1), unit(48, 64, 5, padding=2)),
            nn.Sequential(unit(c, 64, 1), unit(64, 96, 3, padding=1), unit(96, 96, 3, padding=1)),
            pooled(c, k),
        )

    def at17(c: int, m: int) -> nn.Module:
        return _Branches(
            unit(c, 192, 1),
            nn.Sequential(unit(c, m, 1), wide(m, m), tall(m, 192)),
            nn.Sequential(unit(c, m, 1), tall(m, m), wide(m, m), tall(m, m), wide(m, 192)),
            pooled(c, 192),
        )

    def at8(c: int) -> nn.Module:
        return _Branches(
            unit(c, 320, 1),
            nn.Sequential(unit(c, 384, 1), _Branches(wide(384, 384, 3), tall(384, 384, 3))),
            nn.Sequential(
                unit(c, 448, 1), unit(448, 384, 3, padding=1),
                _Branches(wide(384, 384, 3), tall(384, 384, 3)),
            ),
            pooled(c, 192),
        )  # fmt: skip

    to17 = _Branches(
        unit(288, 384, 3, 2),
        nn.Sequential(unit(288, 64, 1), unit(64, 96, 3, padding=1), unit(96, 96, 3, 2)),
        nn.MaxPool2d(3, 2),
    )
    to8 = _Branches(
        nn.Sequential(unit(768, 192, 1), unit(192, 320, 3, 2)),
        nn.Sequential(unit(768, 192, 1), wide(192, 192), tall(192, 192), unit(192, 192, 3, 2)),
        nn.MaxPool2d(3, 2),
    )
    return nn.Sequential(
        unit(3, 32, 3, 2), unit(32, 32, 3), unit(32, 64, 3, padding=1), nn.MaxPool2d(3, 2),
        unit(64, 80, 1), unit(80, 192, 3), nn.MaxPool2d(3, 2),
        at35(192, 32), at35(256, 64), at35(288, 64), to17,
        at17(768, 128), at17(768, 160), at17(768, 160), at17(768, 192), to8,
        at8(1280), at8(2048), *_head(2048),
    )  # fmt: skip


VGG_A: tuple[int, ...] = (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0)
"""Filters of VGG-A's 3x3 convolutions, 0 where 2x2 pooling is (arXiv 1409.1556, column A)."""


def vgg_a() -> nn.Module:
    """VGG-A with batch normalization and one dense layer, for 32x32 images and 10 classes."""
    layers: list[nn.Module] = []
    c = 3
    for k in VGG_A:
        if k:
            layers.append(_unit(c, k, 3, padding=1))
            c = k
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(c, 10))


BUILDERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "VGG-16": (vgg16, 224),
    "ResNet-50": (resnet50, 224),
    "Inception-v3": (inception_v3, 299),
    "MobileNet-v2": (mobilenet_v2, 224),
    "VGG-A": (vgg_a, 32),
}
"""How to build each, and the side of its images."""


def network(name: str, *, training: bool = False) -> nn.Module:
    """One of `BUILDERS`, with random weights of a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BUILDERS[name][0]()
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
    return model.train(training)


def on_ops(model: nn.Module) -> nn.Module:
    """A copy of a network to be trained on our kernels."""
    return convert(copy.deepcopy(model))


def ours(model: nn.Module) -> nn.Module:
    """What a user of this package would run for inference."""
    return accelerate(model)
