"""What is measured: literal tables of the distinct layers of well-known networks.

`tests/test_bench_shapes.py` traces the networks and proves the tables right and complete.

Sources: VGG-16, arXiv 1409.1556, table 1; ResNet-50, arXiv 1512.03385, table 1, with the stride on
the 3x3 convolution ("v1.5") and on the first 1x1 ("v1"); Inception-v3, arXiv 1512.00567, table 1;
MobileNet-v2, arXiv 1801.04381, table 2.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution layer.

    Args:
        source: The network it is from.
        c: Input channels.
        k: Output channels.
        side: Rows and columns of the input.
        kernel: Kernel cells, (rows, columns).
        stride: Steps on both axes.
        padding: Zeros at both ends, (rows, columns).
        groups: Channel groups.
        batch: Images, unless asked otherwise.
    """

    source: str
    c: int
    k: int
    side: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    padding: tuple[int, int] = (1, 1)
    groups: int = 1
    batch: int = 1

    @property
    def name(self) -> str:
        """Such as "64->128 3x3 s2 at 56"."""
        step = f" s{self.stride}" if self.stride > 1 else ""
        return f"{self.c}->{self.k} {self.kernel[0]}x{self.kernel[1]}{step} at {self.side}"


@dataclass(frozen=True, slots=True)
class Pool:
    """A pooling layer; `op` is "max_pool" or "avg_pool"."""

    source: str
    op: str
    c: int
    side: int
    kernel: int
    stride: int
    padding: int = 0
    batch: int = 1

    @property
    def name(self) -> str:
        """Such as "max 3x3 s2, 64 at 112"."""
        window = f"{self.kernel}x{self.kernel} s{self.stride}"
        return f"{self.op.removesuffix('_pool')} {window}, {self.c} at {self.side}"


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch normalization followed by ReLU."""

    source: str
    c: int
    side: int
    batch: int

    @property
    def name(self) -> str:
        """Such as "64 at 112"."""
        return f"{self.c} at {self.side}"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole network; `job` is "inference", "training step" or "training step in Keras"."""

    source: str
    job: str
    batch: int

    @property
    def name(self) -> str:
        """Its job."""
        return self.job


Case = Conv | Pool | Norm | Whole

_VGG, _V1, _RESNET = "VGG-16", "ResNet-50 v1", "ResNet-50"
_INCEPTION, _MOBILE = "Inception-v3", "MobileNet-v2"
_ONE = (1, 1)
_NONE = (0, 0)


def _convs(source: str, *rows: tuple[int, int, int]) -> tuple[Conv, ...]:
    return tuple(Conv(source, *row) for row in rows)


def _pointwise(source: str, stride: int, *rows: tuple[int, int, int]) -> tuple[Conv, ...]:
    return tuple(Conv(source, *row, _ONE, stride, _NONE) for row in rows)


CONV3X3 = (
    *_convs(
        _VGG, (3, 64, 224), (64, 64, 224), (64, 128, 112), (128, 128, 112), (128, 256, 56),
        (256, 256, 56), (256, 512, 28), (512, 512, 28), (512, 512, 14),
    ),
    *_convs(_RESNET, (64, 64, 56), (128, 128, 28), (256, 256, 14), (512, 512, 7)),
    Conv(_INCEPTION, 32, 32, 149, padding=_NONE),
    Conv(_INCEPTION, 32, 64, 147),
    Conv(_INCEPTION, 80, 192, 73, padding=_NONE),
    *_convs(_INCEPTION, (64, 96, 35), (96, 96, 35), (448, 384, 8)),
)  # fmt: skip

CONV1X1 = (
    *_pointwise(
        _RESNET, 1, (64, 64, 56), (64, 256, 56), (256, 64, 56), (256, 128, 56), (128, 512, 28),
        (512, 128, 28), (512, 256, 28), (256, 1024, 14), (1024, 256, 14), (1024, 512, 14),
        (512, 2048, 7), (2048, 512, 7),
    ),
    *_pointwise(_RESNET, 2, (256, 512, 56), (512, 1024, 28), (1024, 2048, 14)),
    *_pointwise(_V1, 2, (256, 128, 56), (512, 256, 28), (1024, 512, 14)),
)  # fmt: skip

STRIDED = (
    Conv(_RESNET, 3, 64, 224, (7, 7), 2, (3, 3)),
    *(Conv(_RESNET, c, c, side, stride=2) for c, side in ((128, 56), (256, 28), (512, 14))),
    Conv(_MOBILE, 3, 32, 224, stride=2),
    *(
        Conv(_INCEPTION, c, k, side, stride=2, padding=_NONE)
        for c, k, side in (
            (3, 32, 299), (288, 384, 35), (96, 96, 35), (192, 320, 17), (192, 192, 17),
        )
    ),
    Conv(_INCEPTION, 48, 64, 35, (5, 5), 1, (2, 2)),
)  # fmt: skip

DEPTHWISE = tuple(
    Conv(_MOBILE, c, c, side, stride=stride, groups=c)
    for c, side, stride in (
        (32, 112, 1), (96, 112, 2), (144, 56, 1), (144, 56, 2), (192, 28, 1), (192, 28, 2),
        (384, 14, 1), (576, 14, 1), (576, 14, 2), (960, 7, 1),
    )
)  # fmt: skip

INCEPTION = (
    *_pointwise(
        _INCEPTION, 1, (64, 80, 73),
        (192, 32, 35), *((c, k, 35) for c in (192, 256, 288) for k in (48, 64)),
        *((768, k, 17) for k in (128, 160, 192)),
        *((c, k, 8) for c in (1280, 2048) for k in (192, 320, 384, 448)),
    ),
    *(
        Conv(_INCEPTION, c, k, side, kernel, 1, (kernel[0] // 2, kernel[1] // 2))
        for n, side, pairs in (
            (7, 17, ((128, 128), (128, 192), (160, 160), (160, 192), (192, 192))),
            (3, 8, ((384, 384),)),
        )
        for c, k in pairs
        for kernel in ((1, n), (n, 1))
    ),
)  # fmt: skip

MOBILENET = _pointwise(
    _MOBILE, 1, (32, 16, 112), (16, 96, 112), (96, 24, 56), (24, 144, 56), (144, 24, 56),
    (144, 32, 28), (32, 192, 28), (192, 32, 28), (192, 64, 14), (64, 384, 14), (384, 64, 14),
    (384, 96, 14), (96, 576, 14), (576, 96, 14), (576, 160, 7), (160, 960, 7), (960, 160, 7),
    (960, 320, 7), (320, 1280, 7),
)  # fmt: skip

POOL = (
    *(
        Pool(_VGG, "max_pool", c, side, 2, 2)
        for c, side in ((64, 224), (128, 112), (256, 56), (512, 28), (512, 14))
    ),
    Pool(_RESNET, "max_pool", 64, 112, 3, 2, 1),
    *(
        Pool(_INCEPTION, "max_pool", c, side, 3, 2)
        for c, side in ((64, 147), (192, 71), (288, 35), (768, 17))
    ),
    *(
        Pool(_INCEPTION, "avg_pool", c, side, 3, 1, 1)
        for c, side in ((192, 35), (256, 35), (288, 35), (768, 17), (1280, 8), (2048, 8))
    ),
    # The other kind, on one shape of each window.
    Pool("other kind", "avg_pool", 64, 224, 2, 2),
    Pool("other kind", "avg_pool", 64, 112, 3, 2, 1),
    Pool("other kind", "max_pool", 288, 35, 3, 1, 1),
)

NORM = (
    *(Norm("VGG-A", c, s, 64) for c, s in ((64, 32), (128, 16), (256, 8), (512, 4), (512, 2))),
    *(
        Norm(_RESNET, c, side, 8)
        for c, side in (
            (64, 112), (64, 56), (256, 56), (128, 56), (128, 28), (512, 28), (256, 28), (256, 14),
            (1024, 14), (512, 14), (512, 7), (2048, 7),
        )
    ),
)  # fmt: skip

LAYERS = tuple(case for case in NORM if case.source == "VGG-A")

NETWORKS = (
    Whole("VGG-16", "inference", 1),
    Whole("VGG-16", "inference", 8),
    *(Whole(name, "inference", 1) for name in (_RESNET, _INCEPTION, _MOBILE)),
    Whole("VGG-A", "training step", 64),
    Whole("VGG-A", "training step in Keras", 64),
)

SUITES: dict[str, tuple[Case, ...]] = {
    "conv3x3": CONV3X3,
    "conv1x1": CONV1X1,
    "strided": STRIDED,
    "depthwise": DEPTHWISE,
    "inception": INCEPTION,
    "mobilenet": MOBILENET,
    "pool": POOL,
    "norm": NORM,
    "layers": LAYERS,
    "networks": NETWORKS,
}
"""All suites in the order in which they run."""

QUICK: dict[str, tuple[int, ...]] = {
    "conv3x3": (4, 12),
    "conv1x1": (1, 12),
    "strided": (2,),
    "depthwise": (2,),
    "inception": (8, 20),
    "mobilenet": (9,),
    "pool": (2, 12),
    "norm": (2,),
    "layers": (0,),
    "networks": (4,),
}
"""Positions of the cases that `--quick` measures."""
