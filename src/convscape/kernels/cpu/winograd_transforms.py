"""Winograd's transforms of whole runs of channels, for tiles of 4x4 outputs or of 2x2.

`edge` is the output tile's: 4 for kernels of 3x3 cells, 2 for 5x5. Both read 6x6 input cells, so
that the kernel's edge is 7 - edge and the input's transform is the same. This is the one place
that tells them apart; all that follows `edge` is what `convscape.kernels.cpu.vector.elementwise`
takes.
"""

from convscape.kernels.cpu.jit import inlined, kernel
from convscape.kernels.cpu.winograd_points import (
    input_tile,
    kernel3_adjoint_rows,
    kernel3_adjoint_vectors,
    kernel3_reversed_rows,
    kernel3_rows,
    kernel3_vectors,
    kernel5_adjoint_rows,
    kernel5_adjoint_vectors,
    kernel5_reversed_rows,
    kernel5_rows,
    kernel5_vectors,
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


@inlined
def kernel_points(edge, weight, at, step, out, to, plane):
    """G g G^T of a vector's lanes of kernels: 9 or 25 vectors of cells to 36 of points.

    Vectors are read `step` apart and written `plane` apart.
    """
    if edge == 4:
        kernel3_vectors(weight, at, step, out, to, plane)
    else:
        kernel5_vectors(weight, at, step, out, to, plane)


@inlined
def kernel_points_of_rows(edge, flip, weight, at, step, out, to, plane):
    """G g G^T of a vector's lanes of kernels whose cells are neighbours, read `step` apart.

    See `convscape.kernels.cpu.turned`.
    """
    if edge == 4:
        if flip:
            kernel3_reversed_rows(weight, at, step, out, to, plane)
        else:
            kernel3_rows(weight, at, step, out, to, plane)
    elif flip:
        kernel5_reversed_rows(weight, at, step, out, to, plane)
    else:
        kernel5_rows(weight, at, step, out, to, plane)


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


@inlined
def kernel_cells(edge, sums, at, plane, out, to, step):
    """G^T u G of a vector's lanes of kernels: 36 vectors of points to 9 or 25 of cells."""
    if edge == 4:
        kernel3_adjoint_vectors(sums, at, plane, out, to, step)
    else:
        kernel5_adjoint_vectors(sums, at, plane, out, to, step)


@inlined
def kernel_cells_in_rows(edge, sums, at, plane, out, to, step):
    """`kernel_cells` where a kernel's cells become neighbours, and kernels lie `step` apart.

    See `convscape.kernels.cpu.turned`.
    """
    if edge == 4:
        kernel3_adjoint_rows(sums, at, plane, out, to, step)
    else:
        kernel5_adjoint_rows(sums, at, plane, out, to, step)
