"""The nasty cases that every kernel is tried on, and how close it must come.

Primes, size 1, stride > kernel, asymmetric padding, groups, dilation, an empty batch; and each in
memory that is plain, channels-last, strided or overlapping.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from convscape.arithmetic import Geometry

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest error relative to the largest value of the float64 reference."""

DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Case:
    """One convolution, or one pooling of its input."""

    name: str
    batch: int
    channels: int
    spatial: tuple[int, int]
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def geometry(self) -> Geometry:
        return Geometry.of(
            self.spatial,
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            in_channels=self.channels,
            out_channels=self.out_channels,
            groups=self.groups,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.batch, self.channels, *self.spatial)

    def arrays(self, dtype: torch.dtype, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """x, weight, bias and the output's gradient."""
        generator = torch.Generator().manual_seed(seed)
        g = self.geometry
        shapes = (
            self.shape,
            g.weight_shape,
            (self.out_channels,),
            (self.batch, *g.output_shape(self.spatial)),
        )
        return tuple(
            torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes
        )


CASES = (
    Case("one_cell", 1, 1, (1, 1), 1, (1, 1)),
    Case("primes", 2, 3, (7, 13), 5, (3, 5), (2, 3), ((1, 1), (2, 2))),
    Case("stride_beyond_kernel", 2, 4, (11, 7), 3, (2, 1), (3, 4)),
    Case("asymmetric", 1, 2, (6, 5), 7, (3, 2), (2, 1), ((2, 0), (0, 3))),
    Case("groups", 3, 6, (5, 9), 4, (3, 3), (1, 2), ((1, 1), (1, 1)), groups=2),
    Case("depthwise", 2, 7, (8, 5), 7, (3, 3), (2, 1), ((0, 1), (1, 1)), (1, 2), groups=7),
    Case("dilation", 1, 3, (13, 11), 2, (3, 2), (1, 1), ((2, 2), (0, 1)), (2, 3)),
    Case("stride_and_dilation", 2, 2, (17, 12), 3, (4, 3), (2, 3), ((3, 1), (2, 2)), (3, 2)),
    Case("kernel_is_input", 2, 5, (4, 6), 3, (4, 6)),
    Case("full_padding", 1, 2, (4, 3), 2, (3, 3), (1, 1), ((2, 2), (2, 2))),
    Case("wide", 1, 70, (3, 4), 131, (3, 3), (1, 1), ((1, 1), (1, 1))),
    Case("deep_sum", 1, 200, (5, 5), 17, (1, 1)),
    Case("pointwise", 3, 20, (7, 11), 23, (1, 1)),
    Case("pointwise_strided", 2, 6, (9, 8), 8, (1, 1), (2, 3), groups=2),
    Case("stem", 1, 3, (15, 15), 64, (7, 7), (2, 2), ((3, 3), (3, 3))),
    Case("long_rows", 1, 8, (3, 230), 16, (3, 3), (1, 1), ((1, 1), (1, 1))),
    Case("many_small_maps", 13, 17, (2, 3), 9, (3, 3), (1, 1), ((1, 1), (1, 1))),
    Case("many_small_lines", 7, 5, (2, 5), 6, (1, 3), (1, 1), ((0, 0), (2, 2)), (1, 2)),
    Case("five", 2, 19, (13, 10), 21, (5, 5), (1, 1), ((1, 2), (4, 1))),
    Case("many_lines", 7, 3, (19, 23), 8, (3, 3), (2, 2), ((1, 0), (0, 1))),
    Case("wide_groups", 2, 6, (23, 29), 10, (3, 2), (1, 1), ((2, 0), (0, 1)), groups=2),
    Case("lines", 3, 3, (7, 62), 13, (3, 3), (1, 2), ((1, 1), (1, 0))),
    Case("lines_apart", 1, 2, (11, 91), 9, (2, 4), (2, 3), ((0, 1), (3, 2)), (3, 2)),
    Case("seven_across", 2, 37, (5, 18), 83, (1, 7), (1, 1), ((0, 0), (3, 2))),
    Case("three_down", 3, 70, (9, 4), 33, (3, 1), (1, 1), ((1, 1), (0, 0))),
    Case("nine_down", 1, 5, (21, 3), 18, (9, 1), (1, 1), ((4, 6), (0, 0))),
    Case("empty_batch", 0, 3, (5, 5), 2, (3, 3)),
)

POOLS = tuple(c for c in CASES if all(max(w.padding) <= w.extent // 2 for w in c.geometry.windows))
"""The cases whose padding pooling accepts: at most half the window."""


def contiguous(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous()


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def strided(x: torch.Tensor) -> torch.Tensor:
    """The same values, every second element of a larger array."""
    holder = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 1), torch.nan, dtype=x.dtype)
    holder[..., 1::2] = x
    return holder[..., 1::2]


def transposed(x: torch.Tensor) -> torch.Tensor:
    """The same values, width before height in memory."""
    return x.transpose(2, 3).contiguous().transpose(2, 3)


LAYOUTS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    contiguous,
    channels_last,
    strided,
    transposed,
)


def error(got: Any, exact: Any) -> float:
    """Largest difference over the largest exact value; 0 for empty arrays of the same shape."""
    got, exact = torch.as_tensor(got), torch.as_tensor(exact)
    assert got.shape == exact.shape, (got.shape, exact.shape)
    if exact.numel() == 0:
        return 0.0
    scale = max(float(exact.double().abs().max()), 1e-30)
    return float((got.double() - exact.double()).abs().max()) / scale


def data(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers in float32, as Keras takes them."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")
