"""Convolution as an implicit matrix product on the register tile; no patch matrix is built.

    y[n, k, h, w] = bias[k] + Σ_{r, s, c} weight[k, c, r, s] x[n, c, h', w'],
    h' = h stride - low + r dilation, and w' alike

The input is laid out channels-last with its padding, once. Then an output pixel is an address, a
row of the kernel is one run of products (r fixed, s and c inside), and three problems are one loop:

- forward: rows are output pixels;
- input gradient: the adjoint window. A stride s splits the pixels of dx into s phases, and each
  phase is a forward problem over the kernel cells that reach it: zeros are never multiplied;
- weight gradient (`gemm_weight`): rows are the (r, s, c) of the weights, and the sum runs over
  pixels.

Any stride, asymmetric padding, dilation and groups; float32 and float64.

Source: K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS
34(3), 2008; M. Dukhan, "The Indirect Convolution Algorithm", arXiv 1907.02129; adjoint windows:
V. Dumoulin and F. Visin, arXiv 1603.07285, section 4.
"""

from functools import lru_cache

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.cpu.gemm_pack import packed
from convscape.kernels.cpu.gemm_pixels import correlate
from convscape.kernels.cpu.gemm_pointwise import pointwise
from convscape.kernels.cpu.gemm_weight import weight_grad
from convscape.kernels.cpu.layout import Array, empty, is_channels_last, padded
from convscape.kernels.cpu.phases import phase_of, reach

__all__ = ["forward", "input_grad", "pack", "weight_grad"]


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
    n, _, *spatial = x.shape
    groups = geometry.groups
    y = empty((n, *_output(geometry, *spatial)), x.dtype, is_channels_last(x))
    if y.size == 0:
        return y
    height, width = geometry.windows
    if _is_pointwise(x, geometry):
        view = _strided(x, geometry, y.shape)
        pointwise(view, weight[:, :, 0, 0], bias, relu, groups, y, threads)
        return y
    memory, (sn, sh, sw) = padded(x, (height.padding, width.padding), threads)
    if weights is None:
        weights = pack(weight, geometry, threads)
    k, c, r, s = geometry.weight_shape
    correlate(
        memory, 0, (sn, sh * height.stride, sw * width.stride),
        weights, (0, s, 1, r * s), (groups, k // groups, c, r, s),
        (sh * height.dilation, sw * width.dilation),
        [
            (w.stride, -w.padding[0], w.dilation, m)
            for w, m in zip(geometry.windows, spatial, strict=True)
        ],
        bias, relu, y, threads,
    )  # fmt: skip
    return y


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
    n = dy.shape[0]
    dx = empty((n, geometry.in_channels, *spatial), dy.dtype, is_channels_last(dy))
    if dx.size == 0:
        return dx
    if _is_pointwise(dy, geometry):
        if max(w.stride for w in geometry.windows) > 1:
            dx[:] = 0
        groups = geometry.groups
        # (K, C / groups) to (C, K / groups), group by group.
        backwards = _grouped(weight, geometry)[..., 0, 0].swapaxes(1, 2)
        backwards = backwards.reshape(geometry.in_channels, -1) if groups > 1 else backwards[0]
        view = _strided(dx, geometry, dy.shape)
        pointwise(dy, backwards, None, False, groups, view, threads)
        return dx
    axes = [
        [phase_of(w, phase, size) for phase in range(min(w.stride, size))]
        for w, size in zip(geometry.windows, spatial, strict=True)
    ]
    padding = tuple(
        reach(phases, m) for phases, m in zip(axes, geometry.outputs(spatial), strict=True)
    )
    memory, (sn, sh, sw) = padded(dy, (padding[0], padding[1]), threads)
    # Of the adjoint problem the forward's input channels are the outputs.
    kernel = _grouped(weight, geometry).transpose(0, 2, 1, 3, 4)
    weights, (r, s) = packed(kernel, threads), kernel.shape[3:]
    for i, h in enumerate(axes[0]):
        for j, w in enumerate(axes[1]):
            part = dx[:, :, i :: geometry.windows[0].stride, j :: geometry.windows[1].stride]
            if h.taps == 0 or w.taps == 0:
                part[:] = 0
                continue
            cells = kernel[:, :, :, h.first :: h.every, w.first :: w.every]
            correlate(
                memory,
                (padding[0][0] + h.start) * sh + (padding[1][0] + w.start) * sw,
                (sn, sh, sw),
                weights,
                (h.first * s + w.first, h.every * s, w.every, r * s),
                cells.shape,
                (-h.back * sh, -w.back * sw),
                [
                    (1, phase.start, -phase.back, m)
                    for phase, m in zip((h, w), dy.shape[2:], strict=True)
                ],
                None, False, part, threads,
            )  # fmt: skip
    return dx


@lru_cache(maxsize=1024)
def _output(geometry: Geometry, *spatial: int) -> tuple[int, int, int]:
    """(K, H', W')."""
    k, h, w = geometry.output_shape(spatial)
    return k, h, w


def _is_pointwise(x: Array, geometry: Geometry) -> bool:
    """Whether pixels that are neighbours in memory are multiplied one by one."""
    return (
        geometry.kernel == (1, 1)
        and all(w.padding == (0, 0) for w in geometry.windows)
        and x.strides[3] == x.itemsize
        and not is_channels_last(x)
    )


def _strided(x: Array, geometry: Geometry, grid: tuple[int, ...]) -> Array:
    """Every stride-th pixel of x, as many as the grid has."""
    height, width = geometry.windows
    return x[:, :, :: height.stride, :: width.stride][:, :, : grid[2], : grid[3]]


def _grouped(weight: Array, geometry: Geometry) -> Array:
    """Weights as (group, output channel in it, input channel in it, r, s)."""
    return weight.reshape(
        geometry.groups, geometry.out_channels // geometry.groups, *weight.shape[1:]
    )
