"""Every algorithm there is. To add one: one file, and one row here."""

from convscape.kernels import cost, workspace
from convscape.kernels.algorithm import Algorithm, Problem, geometry_of
from convscape.kernels.cpu import amx_unit


def _compiled(problem: Problem) -> str | None:
    """What every compiled kernel needs."""
    if problem.device != "cpu":
        return f"computes on the CPU, not on {problem.device}"
    if problem.dtype not in workspace.ITEMSIZE:
        return f"computes in float32 and float64, not in {problem.dtype}"
    return None


def _two_axes(problem: Problem) -> str | None:
    geometry = geometry_of(problem)
    if geometry.rank != 2:
        return f"has two spatial axes, not {geometry.rank}"
    if any(w.input_dilation != 1 for w in geometry.windows):
        return "takes the input as it is, not spread (input_dilation 1)"
    return _compiled(problem)


def _depthwise(problem: Problem) -> str | None:
    geometry = geometry_of(problem)
    if not geometry.in_channels == geometry.out_channels == geometry.groups:
        return "has one input and one output channel a group"
    return _two_axes(problem)


def _transformed(problem: Problem) -> str | None:
    """What Winograd's kernels need beside their shapes."""
    if geometry_of(problem).groups != 1:
        return "computes all channels together, not in groups"
    if problem.dtype == "float64":
        return "computes in float32: its error is several times that of a plain sum"
    return _two_axes(problem)


def _winograd(problem: Problem) -> str | None:
    geometry = geometry_of(problem)
    if geometry.kernel not in ((3, 3), (5, 5)) or any(
        (w.stride, w.dilation) != (1, 1) for w in geometry.windows
    ):
        return "computes dense 3x3 or 5x5 kernels at stride 1"
    return _transformed(problem)


def _winograd_axis(problem: Problem) -> str | None:
    geometry = geometry_of(problem)
    if geometry.rank != 2 or sorted(geometry.kernel)[0] != 1 or sorted(geometry.kernel)[1] < 3:
        return "computes kernels of 3 cells or more along one axis"
    if any((w.stride, w.dilation) != (1, 1) for w in geometry.windows):
        return "computes dense kernels at stride 1"
    if any(w.kernel == 1 and w.padding != (0, 0) for w in geometry.windows):
        return "pads only along the kernel"
    return _transformed(problem)


def _matrix_unit(problem: Problem) -> str | None:
    if geometry_of(problem).groups != 1:
        return "computes all channels together, not in groups"
    if problem.dtype == "float64":
        return "computes in float32: numbers are taken in three parts of 8 bits"
    return amx_unit.missing() or _two_axes(problem)


def _never(_: Problem) -> str | None:
    return None


TABLE: tuple[Algorithm, ...] = (
    Algorithm(
        "depthwise", "convolution", "convscape.kernels.cpu.depthwise",
        _depthwise, cost.direct, workspace.depthwise,
        "X. Zhang et al., ShuffleNet, arXiv 1707.01083, section 3.1 (the operation)",
    ),
    Algorithm(
        "winograd", "convolution", "convscape.kernels.cpu.winograd",
        _winograd, cost.winograd, workspace.winograd,
        "A. Lavin and S. Gray, arXiv 1509.09308", exact=False,
    ),
    Algorithm(
        "winograd1d", "convolution", "convscape.kernels.cpu.winograd_axis",
        _winograd_axis, cost.winograd_axis, workspace.winograd_axis,
        "S. Winograd, Arithmetic Complexity of Computations, SIAM 1980", exact=False,
    ),
    Algorithm(
        "amx", "convolution", "convscape.kernels.cpu.amx",
        _matrix_unit, cost.matrix_unit, workspace.matrix_unit,
        "G. Henry, P. T. P. Tang and A. Heinecke, arXiv 1904.06376", exact=False,
    ),
    Algorithm(
        "gemm", "convolution", "convscape.kernels.cpu.gemm",
        _two_axes, cost.matrix_product, workspace.matrix_product,
        "K. Goto and R. van de Geijn, ACM TOMS 34(3), 2008; M. Dukhan, arXiv 1907.02129",
    ),
    Algorithm(
        "direct", "pooling", "convscape.kernels.cpu.pool",
        _two_axes, cost.memory_bound, workspace.cell_numbers,
        "V. Dumoulin and F. Visin, arXiv 1603.07285, section 3",
    ),
    Algorithm(
        "blocks", "batch_norm", "convscape.kernels.cpu.norm",
        _compiled, cost.memory_bound, workspace.channel_sums,
        "S. Ioffe and C. Szegedy, arXiv 1502.03167, section 3",
    ),
    # What ours do not cover (other devices, half precision) the framework computes.
    Algorithm("framework", "convolution", None, _never, cost.direct, workspace.nothing, "torch"),
    Algorithm("framework", "pooling", None, _never, cost.memory_bound, workspace.nothing, "torch"),
    Algorithm(
        "framework", "batch_norm", None, _never, cost.memory_bound, workspace.nothing, "torch"
    ),
    # The oracle: never chosen, only asked for.
    Algorithm(
        "reference", "convolution", "convscape.kernels.reference",
        _compiled, cost.interpreted, workspace.nothing, "arXiv 1603.07285, section 1.1",
    ),
    Algorithm(
        "reference", "pooling", "convscape.kernels.reference",
        _compiled, cost.interpreted, workspace.nothing, "arXiv 1603.07285, section 1.2",
    ),
    Algorithm(
        "reference", "batch_norm", "convscape.kernels.reference",
        _compiled, cost.interpreted, workspace.nothing, "arXiv 1502.03167, section 3",
    ),
)  # fmt: skip
