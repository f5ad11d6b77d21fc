"""Convolution as an implicit matrix product on the register tile; no patch matrix is built.

    y[n, k, h, w] = bias[k] + Σ_{r, s, c} weight[k, c, r, s] x[n, c, h', w'],
    h' = h stride - low + r dilation, and w' alike

The input is laid out channels-last with its padding, once. Then an output pixel is an address, a
row of the kernel is one run of products (r fixed, s and c inside), and three problems are one loop:

- forward: rows are output pixels;
- input gradient: the adjoint window. A stride s splits the pixels of dx into s phases, and each
  phase is a forward problem over the kernel cells that reach it: zeros are never multiplied.
  Phases of few channels are computed together (`gemm_folded`);
- weight gradient (`gemm_weight`): rows are the (r, s, c) of the weights, and the sum runs over
  pixels.

Any stride, asymmetric padding, dilation and groups; float32 and float64.

Source: K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS
34(3), 2008; M. Dukhan, "The Indirect Convolution Algorithm", arXiv 1907.02129; adjoint windows:
V. Dumoulin and F. Visin, arXiv 1603.07285, section 4.
"""

from functools import lru_cache
from math import prod

import numpy as np

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu import gemm_lines
from convscape.kernels.cpu.bound import Bound, Result
from convscape.kernels.cpu.clear import clear
from convscape.kernels.cpu.gemm_call import Phases, bound_of, call_of, correlate
from convscape.kernels.cpu.gemm_folded import folded, folded_weight, unfold
from convscape.kernels.cpu.gemm_pack import packed
from convscape.kernels.cpu.gemm_pointwise import InPlace, pointwise, suits
from convscape.kernels.cpu.gemm_problem import forward_product, input_products
from convscape.kernels.cpu.gemm_weight import bind_weight, weight_grad
from convscape.kernels.cpu.layout import (
    Array,
    Pads,
    blank,
    is_channels_last,
    lies_last,
    padded,
    plain,
)
from convscape.kernels.cpu.simd import SIMD
from convscape.kernels.cpu.tile import WIDEST

__all__ = ["bind", "bind_weight", "forward", "input_grad", "pack", "weight_grad"]

_MANY = 1 << 17  # 1x1 weights that do not stay near while their sums read them across


def pack(weight: Array, geometry: Geometry, threads: int) -> Array:
    """What `forward` makes of the weights, to be given it again while they do not change.

    Args:
        weight: (K, C / groups, R, S), any strides.
        geometry: The convolution.
        threads: Threads to use.

    Returns:
        Opaque, of about the weights' size.
    """
    return packed(_grouped(weight, geometry), threads)


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    threads: int,
    relu: bool | float = False,
    weights: Array | None = None,
) -> Array:
    """The convolution.

    Args:
        x: (N, C, H, W), any strides.
        weight: (K, C / groups, R, S), any strides, of x's dtype.
        bias: (K,) or None.
        geometry: Two windows and the channels.
        threads: Threads to use.
        relu: Whether negative results become 0; a number is an upper bound beside (6.0 for ReLU6).
        weights: `pack(weight, ...)`, where it is known already.

    Returns:
        (N, K, H', W'), in channels-last memory when x is.
    """
    last = is_channels_last(x)
    shape, padding, product = forward_product(geometry, x.shape[0], x.shape[2], x.shape[3], last)
    line, y = blank(shape, x.dtype, last)
    if y.size == 0:
        return y
    if not last and _is_pointwise(x, geometry):
        view = _strided(x, geometry, shape)
        pointwise(view, weight[:, :, 0, 0], bias, relu, geometry.groups, y, threads)
        return y
    if not last and gemm_lines.fits(geometry, shape[3], x.itemsize):
        gemm_lines.correlate(x, weight, bias, relu, geometry, y, threads)
        return y
    source = padded(x, padding, threads)[0]
    correlate(source, _grouped(weight, geometry), weights, product, bias, relu, line, threads)
    return y


@lru_cache(maxsize=1024)
def bind(
    geometry: Geometry, shape: tuple[int, ...], strides: tuple[int, ...],
    weight_strides: tuple[int, ...], dtype: str, threads: int, packs: bool = True,
    spatial: tuple[int, int] | None = None,
) -> Bound | None:  # fmt: skip
    """`forward` or `input_grad` where all but the addresses is known: what is left takes little.

    Args:
        geometry: The convolution.
        shape: Of the input, or of dy.
        strides: Its, in elements.
        weight_strides: Of the weights (K, C / groups, R, S), in elements.
        dtype: Of both.
        threads: Threads to use.
        packs: Whether the weights are given as they are, and not as `pack` makes them.
        spatial: (H, W) of the input whose gradient is computed; None for the forward pass.

    Returns:
        What to call for a channels-last input without gaps; None for others, and where all
        phases of a strided input gradient are computed at once.
    """
    if not lies_last(shape, strides):
        return None
    n, c, h, w = shape
    dense = (h * w * c, 1, w * c, c)
    sk, sc, *cells = weight_strides
    group = geometry.out_channels // geometry.groups * sk
    unmet: Phases = ()
    if spatial is None:
        outputs, padding, products = forward_product(geometry, n, h, w, True)
        own = group, sk, sc, *cells
    else:
        padding, products, unmet = input_products(geometry, n, *spatial, True)
        outputs, own = (n, geometry.in_channels, *spatial), (group, sc, sk, *cells)
        if folded(geometry, np.dtype(dtype).itemsize) is not None:
            return None
    if 0 in outputs or 0 in shape or not products.each:
        return None
    pixels, kind = n * prod(outputs[2:]), np.dtype(dtype)
    if spatial is None and packs and suits(geometry, pixels, weight_strides, kind.itemsize):
        in_place = InPlace(geometry, shape, weight_strides, kind, threads)
        return Bound((Result.of(outputs, dtype, True),), in_place)
    pads = Pads.of(shape, dense, padding, kind, threads)
    size = 1 + sum((m - 1) * s for m, s in zip(geometry.weight_shape, weight_strides, strict=True))
    call = call_of(
        products, pads.elements if pads else prod(shape), size, own if packs else None,
        prod(outputs), kind, threads,
    )  # fmt: skip
    if packs and not call.packs:  # weights that threads do not pack for themselves
        return None
    result = Result.of(outputs, dtype, True)
    return bound_of(result, call, pads, geometry, unmet, threads)


def input_grad(
    dy: Array, weight: Array, geometry: Geometry, spatial: tuple[int, int], threads: int
) -> Array:
    """The gradient by the input: the transposed convolution of dy.

    Args:
        dy: (N, K, H', W'), any strides.
        weight: (K, C / groups, R, S).
        geometry: The forward convolution.
        spatial: (H, W) of the forward input.
        threads: Threads to use.

    Returns:
        (N, C, H, W), in channels-last memory when dy is.
    """
    last = is_channels_last(dy)
    line, dx = blank((dy.shape[0], geometry.in_channels, *spatial), dy.dtype, last)
    if dx.size == 0:
        return dx
    dense = folded(geometry, dy.itemsize)
    if dense is not None:
        cells = [m + w.kernel - 1 for m, w in zip(dy.shape[2:], dense.windows, strict=True)]
        sums, apart = blank((dy.shape[0], dense.in_channels, *cells), dy.dtype, True)
        _products(
            dy, folded_weight(weight, geometry, dense), dense, apart.shape, True, sums, threads
        )
        unfold(apart, geometry, dx, threads)
        return dx
    _, _, unmet = input_products(geometry, dy.shape[0], *spatial, last)
    height, width = geometry.windows
    clear(dx, (height.stride, width.stride), unmet, threads)
    many = weight.size >= _MANY
    one_panel = dy.shape[0] * prod(dy.shape[2:]) <= WIDEST * SIMD.lanes(dy.itemsize)
    if not last and _is_pointwise(dy, geometry) and not (many and one_panel):
        view = _strided(dx, geometry, dy.shape)
        backwards = _backwards(weight, geometry, many, threads)
        pointwise(dy, backwards, None, False, geometry.groups, view, threads)
        return dx
    _products(dy, weight, geometry, dx.shape, last, line, threads)
    return dx


def _products(
    dy: Array, weight: Array, geometry: Geometry, shape: tuple[int, ...], last: bool, line: Array,
    threads: int,
) -> None:  # fmt: skip
    """Fill the memory of an input gradient of this shape, channels-last or plain, by phases."""
    padding, products, _ = input_products(geometry, shape[0], shape[2], shape[3], last)
    source = padded(dy, padding, threads)[0]
    adjoint = _grouped(weight, geometry).transpose(0, 2, 1, 3, 4)
    correlate(source, adjoint, None, products, None, False, line, threads)


def _is_pointwise(x: Array, geometry: Geometry) -> bool:
    """Whether pixels that are neighbours in memory are multiplied one by one."""
    return (
        geometry.kernel == (1, 1)
        and all(w.padding == (0, 0) for w in geometry.windows)
        and x.strides[3] == x.itemsize
    )


def _backwards(weight: Array, geometry: Geometry, many: bool, threads: int) -> Array:
    """1x1 weights (K, C / groups) as (C, K / groups), group by group.

    Many are turned: where a sum reads each from another line of the cache, lines are gone before
    their neighbours are read.
    """
    weight = _grouped(weight, geometry)
    groups, k, c = weight.shape[:3]
    if many:
        weight = plain(np.ascontiguousarray(weight).reshape(groups, k, 1, c), threads)
    else:
        weight = weight.swapaxes(1, 2)
    return weight.reshape(groups * c, k)


def _strided(x: Array, geometry: Geometry, grid: tuple[int, ...]) -> Array:
    """Every stride-th pixel of x, as many as the grid has."""
    height, width = geometry.windows
    return x[:, :, :: height.stride, :: width.stride][:, :, : grid[2], : grid[3]]


def _grouped(weight: Array, geometry: Geometry) -> Array:
    """Weights as (group, output channel in it, input channel in it, r, s)."""
    if geometry.groups == 1:
        return weight[None]
    return weight.reshape(
        geometry.groups, geometry.out_channels // geometry.groups, *weight.shape[1:]
    )
