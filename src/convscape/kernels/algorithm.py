"""The contract between a problem and the code that solves it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from convscape.arithmetic.geometry import Geometry

OPS = ("convolution", "pooling", "batch_norm")
"""What an algorithm can compute; the functions of each are listed in `Algorithm.module`."""

DIRECTIONS = ("forward", "input_gradient", "weight_gradient")
"""What of a convolution is computed; each is chosen for itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is to be computed, known before any array is touched.

    Args:
        op: One of `OPS`.
        shape: Shape of the input, (N, C, *spatial).
        dtype: Name of the element type, such as "float32".
        device: Kind of device the arrays are on, such as "cpu".
        geometry: Windows and channels of a convolution or pooling; None for batch normalization.
        direction: One of `DIRECTIONS`.
        constant: Whether the weights stay as they are and were arranged in an earlier call.
    """

    op: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    device: str = "cpu"
    geometry: Geometry | None = None
    direction: str = "forward"
    constant: bool = False

    @property
    def work(self) -> int:
        """Multiply-adds of a convolution; values touched otherwise."""
        if self.geometry is None:
            return prod(self.shape)
        spatial = self.shape[2:]
        if self.op == "convolution":
            return self.shape[0] * self.geometry.macs(spatial)
        outputs = prod(self.geometry.outputs(spatial))
        return self.shape[0] * self.shape[1] * outputs * prod(self.geometry.kernel)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One way to compute an op, as one row of the table.

    Args:
        name: What a caller writes in `algorithm=`.
        op: One of `OPS`.
        module: Dotted path, imported on first use; None for the framework's own op. It has, for
            convolution `forward`, `input_grad` and `weight_grad`; for pooling `maximum`,
            `maximum_only`, `maximum_grad`, `pick`, `average` and `average_grad`; for batch_norm
            `normalize` and `normalize_grad`, all with the signatures of
            `convscape.kernels.reference`.
        refuses: The reason why it cannot solve a problem, or None when it can.
        cost: Predicted nanoseconds of one thread, see `convscape.kernels.cost`.
        workspace: Bytes it allocates beside its result, for the forward pass.
        source: Where the method is described.
        exact: Whether it sums the products as they are, so that a NaN or Inf reaches the outputs
            that read it and no others.
    """

    name: str
    op: str
    module: str | None
    refuses: Callable[[Problem], str | None]
    cost: Callable[[Problem], int]
    workspace: Callable[[Problem], int]
    source: str
    exact: bool = True


def geometry_of(problem: Problem) -> Geometry:
    """The geometry of a problem that has one."""
    assert problem.geometry is not None, f"a {problem.op} problem has a geometry"
    return problem.geometry
