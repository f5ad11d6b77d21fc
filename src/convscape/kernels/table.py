"""Every algorithm there is. To add one: one file, and one row here."""

from math import prod

from convscape.arithmetic.geometry import Geometry
from convscape.kernels.algorithm import Algorithm, Problem

_ITEMSIZE = {"float32": 4, "float64": 8}
_LANES = 16  # of the widest vector; what idle lanes cost on a narrower one is less


def _compiled(problem: Problem) -> str | None:
    """What every compiled kernel needs."""
    if problem.device != "cpu":
        return f"computes on the CPU, not on {problem.device}"
    if problem.dtype not in _ITEMSIZE:
        return f"computes in float32 and float64, not in {problem.dtype}"
    return None


def _two_axes(problem: Problem) -> str | None:
    geometry = _geometry(problem)
    if geometry.rank != 2:
        return f"has two spatial axes, not {geometry.rank}"
    if any(w.input_dilation != 1 for w in geometry.windows):
        return "takes the input as it is, not spread (input_dilation 1)"
    return _compiled(problem)


def _depthwise(problem: Problem) -> str | None:
    geometry = _geometry(problem)
    if not geometry.in_channels == geometry.out_channels == geometry.groups:
        return "has one input and one output channel a group"
    return _two_axes(problem)


def _winograd(problem: Problem) -> str | None:
    geometry = _geometry(problem)
    if geometry.kernel != (3, 3) or any((w.stride, w.dilation) != (1, 1) for w in geometry.windows):
        return "computes dense 3x3 kernels at stride 1"
    if geometry.groups != 1:
        return "computes all channels together, not in groups"
    if problem.dtype == "float64":
        return "computes in float32: its error is ten times that of a plain sum"
    return _two_axes(problem)


def _never(_: Problem) -> str | None:
    return None


def _work(problem: Problem) -> int:
    return problem.work


def _tiled(problem: Problem) -> int:
    """Multiply-adds with the lanes that a group's last vector leaves idle, at 9/10 of peak.

    The weight gradient walks along pixels, a channel count apart in memory: at 7/10.
    """
    geometry = _geometry(problem)
    columns = geometry.out_channels // geometry.groups
    tenths = 7 if problem.direction == "weight_gradient" else 9
    return problem.work * (-(-columns // _LANES) * _LANES) // columns * 10 // tenths


def _transformed(problem: Problem) -> int:
    """36 products a tile, and the transforms in multiply-adds of the same time.

    The weights were fitted to times on one core (AVX-512): 16 ns a tile and channel, 34 ns a
    kernel, at 50 multiply-adds a nanosecond. The weight gradient transforms kernels once, at the
    end, and from fewer points: half of that.
    """
    geometry = _geometry(problem)
    c, k = geometry.in_channels, geometry.out_channels
    tiles = problem.shape[0] * prod(-(-o // 4) for o in geometry.outputs(problem.shape[2:]))
    products = 36 * tiles * c * (-(-k // _LANES) * _LANES)
    each = 850 if problem.direction == "weight_gradient" else 1700
    return products + 800 * tiles * (c + k) + each * c * k


def _interpreted(problem: Problem) -> int:
    """An interpreted step costs about as much as a thousand multiply-adds."""
    return problem.work * 1000


def _gemm_bytes(problem: Problem) -> int:
    """The padded channels-last input, and the packed weights."""
    geometry = _geometry(problem)
    groups, columns = geometry.groups, geometry.out_channels // geometry.groups
    cells = _padded_cells(problem) + prod(geometry.weight_shape[1:]) * groups * (
        -(-columns // _LANES) * _LANES
    )
    return cells * _ITEMSIZE.get(problem.dtype, 8)


def _winograd_bytes(problem: Problem) -> int:
    """The kernels' points; a chunk's points (1 MiB a thread) stay in the cache."""
    geometry = _geometry(problem)
    return 36 * 4 * geometry.in_channels * (-(-geometry.out_channels // _LANES) * _LANES)


def _cells_bytes(problem: Problem) -> int:
    """The packed weights and biases, and 256 KiB for the rows of a few planes in plain order."""
    geometry = _geometry(problem)
    channels = -(-geometry.in_channels // _LANES) * _LANES
    cells = (prod(geometry.kernel) + 1) * channels
    return cells * _ITEMSIZE.get(problem.dtype, 8) + (256 << 10)


def _padded_cells(problem: Problem) -> int:
    n, c, *spatial = problem.shape
    windows = _geometry(problem).windows
    return n * c * prod(max(0, m + sum(w.padding)) for w, m in zip(windows, spatial, strict=True))


def _numbers_bytes(problem: Problem) -> int:
    """The number of the kernel cell of each maximum, one byte each for up to 256 cells."""
    geometry = _geometry(problem)
    size = 1 if prod(geometry.kernel) <= 256 else 4
    return size * prod(problem.shape[:2]) * prod(geometry.outputs(problem.shape[2:]))


def _channel_bytes(problem: Problem) -> int:
    """Nine float64 numbers a channel, and a table of seven rows of about 1024 elements or more."""
    channels = problem.shape[1]
    return 72 * channels + 7 * _ITEMSIZE.get(problem.dtype, 8) * max(1024, channels)


def _nothing(_: Problem) -> int:
    return 0


def _geometry(problem: Problem) -> Geometry:
    assert problem.geometry is not None, f"a {problem.op} problem has a geometry"
    return problem.geometry


TABLE: tuple[Algorithm, ...] = (
    Algorithm(
        "depthwise", "convolution", "convscape.kernels.cpu.depthwise",
        _depthwise, _work, _cells_bytes,
        "X. Zhang et al., ShuffleNet, arXiv 1707.01083, section 3.1 (the operation)",
    ),
    Algorithm(
        "winograd", "convolution", "convscape.kernels.cpu.winograd",
        _winograd, _transformed, _winograd_bytes,
        "A. Lavin and S. Gray, arXiv 1509.09308",
    ),
    Algorithm(
        "gemm", "convolution", "convscape.kernels.cpu.gemm",
        _two_axes, _tiled, _gemm_bytes,
        "K. Goto and R. van de Geijn, ACM TOMS 34(3), 2008; M. Dukhan, arXiv 1907.02129",
    ),
    Algorithm(
        "direct", "pooling", "convscape.kernels.cpu.pool",
        _two_axes, _work, _numbers_bytes,
        "V. Dumoulin and F. Visin, arXiv 1603.07285, section 3",
    ),
    Algorithm(
        "blocks", "batch_norm", "convscape.kernels.cpu.norm",
        _compiled, _work, _channel_bytes,
        "S. Ioffe and C. Szegedy, arXiv 1502.03167, section 3",
    ),
    # What ours do not cover (other devices, half precision) the framework computes.
    Algorithm("framework", "convolution", None, _never, _work, _nothing, "torch"),
    Algorithm("framework", "pooling", None, _never, _work, _nothing, "torch"),
    Algorithm("framework", "batch_norm", None, _never, _work, _nothing, "torch"),
    # The oracle: never chosen, only asked for.
    Algorithm(
        "reference", "convolution", "convscape.kernels.reference",
        _compiled, _interpreted, _nothing, "arXiv 1603.07285, section 1.1",
    ),
    Algorithm(
        "reference", "pooling", "convscape.kernels.reference",
        _compiled, _interpreted, _nothing, "arXiv 1603.07285, section 1.2",
    ),
    Algorithm(
        "reference", "batch_norm", "convscape.kernels.reference",
        _compiled, _interpreted, _nothing, "arXiv 1502.03167, section 3",
    ),
)  # fmt: skip
