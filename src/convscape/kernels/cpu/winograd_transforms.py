"""Winograd's transforms of whole runs of channels, for tiles of 4x4 outputs or of 2x2.

`edge` is the output tile's: 4 for kernels of 3x3 cells, 2 for 5x5. Both read 6x6 input cells, so
that the kernel's edge is 7 - edge and the input's transform is the same. This is the one place
that tells them apart; all that follows `edge` is what `convscape.kernels.cpu.vector.elementwise`
takes.
"""

from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.winograd_points import (
    input_tile,
    kernel3_adjoint_rows,
    kernel3_adjoint_tile,
    kernel3_reversed_rows,
    kernel3_rows,
    kernel3_tile,
    kernel5_adjoint_rows,
    kernel5_adjoint_tile,
    kernel5_reversed_rows,
    kernel5_rows,
    kernel5_tile,
    output2_adjoint_tile,
    output2_relu_tile,
    output2_tile,
    output4_adjoint_tile,
    output4_relu_tile,
    output4_tile,
)


@kernel
def input_points(x, at, reads, out, to, writes, count):
    """B^T d B: 36 input cells to 36 points."""
    input_tile(x, at, reads, out, to, writes, count, x, 0)


@kernel
def kernel_points(edge, weight, at, reads, out, to, writes, count):
    """G g G^T: 9 or 25 kernel cells to 36 points."""
    if edge == 4:
        kernel3_tile(weight, at, reads, out, to, writes, count, weight, 0)
    else:
        kernel5_tile(weight, at, reads, out, to, writes, count, weight, 0)


@kernel
def kernel_points_of_rows(edge, flip, weight, at, step, out, to, writes):
    """G g G^T of a vector's lanes of kernels whose cells are neighbours, read `step` apart."""
    if edge == 4:
        if flip:
            kernel3_reversed_rows(weight, at, step, out, to, writes)
        else:
            kernel3_rows(weight, at, step, out, to, writes)
    elif flip:
        kernel5_reversed_rows(weight, at, step, out, to, writes)
    else:
        kernel5_rows(weight, at, step, out, to, writes)


@kernel
def output_cells(edge, relu, products, at, reads, out, to, writes, count, bias, k0):
    """A^T m A plus bias: 36 points to 16 or 4 output cells."""
    if edge == 4:
        if relu:
            output4_relu_tile(products, at, reads, out, to, writes, count, bias, k0)
        else:
            output4_tile(products, at, reads, out, to, writes, count, bias, k0)
    elif relu:
        output2_relu_tile(products, at, reads, out, to, writes, count, bias, k0)
    else:
        output2_tile(products, at, reads, out, to, writes, count, bias, k0)


@kernel
def output_points(edge, dy, at, reads, out, to, writes, count):
    """A dy A^T: 16 or 4 cells of the output's gradient to 36 points."""
    if edge == 4:
        output4_adjoint_tile(dy, at, reads, out, to, writes, count, dy, 0)
    else:
        output2_adjoint_tile(dy, at, reads, out, to, writes, count, dy, 0)


@kernel
def kernel_cells(edge, sums, at, reads, out, to, writes, count):
    """G^T u G: 36 points to 9 or 25 cells of the weight gradient."""
    if edge == 4:
        kernel3_adjoint_tile(sums, at, reads, out, to, writes, count, sums, 0)
    else:
        kernel5_adjoint_tile(sums, at, reads, out, to, writes, count, sums, 0)


@kernel
def kernel_cells_in_rows(edge, sums, at, reads, out, to, step):
    """G^T u G: 36 points to 9 or 25 cells of the weight gradient, for a vector's lanes of kernels.

    Those lie `step` apart in the result; see `convscape.kernels.cpu.turned`.
    """
    if edge == 4:
        kernel3_adjoint_rows(sums, at, reads, out, to, step)
    else:
        kernel5_adjoint_rows(sums, at, reads, out, to, step)
