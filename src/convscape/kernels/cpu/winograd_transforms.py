"""Winograd's transforms of whole runs of channels, in four forms.

`form` is the number of a `convscape.kernels.cpu.winograd_form.Form`: the edge of the output tile,
4 for kernels of 3x3 cells and 2 for 5x5, which both read 6x6 input cells and have the input's
transform in common, or that of few points or of whole maps. This is the one place that tells them
apart; all that follows `form` is what `convscape.kernels.cpu.vector.elementwise` takes.
"""

from convscape.kernels.cpu.jit import inlined
from convscape.kernels.cpu.winograd_form import FEW_POINTS, WHOLE_MAP
from convscape.kernels.cpu.winograd_points import (
    input_few_tile,
    input_map_tile,
    input_tile,
    kernel3_adjoint_rows,
    kernel3_adjoint_vectors,
    kernel3_few_adjoint_rows,
    kernel3_few_adjoint_vectors,
    kernel3_few_reversed_rows,
    kernel3_few_rows,
    kernel3_few_vectors,
    kernel3_reversed_rows,
    kernel3_rows,
    kernel3_vectors,
    kernel5_adjoint_rows,
    kernel5_adjoint_vectors,
    kernel5_reversed_rows,
    kernel5_rows,
    kernel5_vectors,
    kernel_map_adjoint_rows,
    kernel_map_adjoint_vectors,
    kernel_map_reversed_rows,
    kernel_map_rows,
    kernel_map_vectors,
    output2_adjoint_tile,
    output2_few_adjoint_tile,
    output2_few_relu_tile,
    output2_few_tile,
    output2_relu_tile,
    output2_tile,
    output4_adjoint_tile,
    output4_relu_tile,
    output4_tile,
    output_map_adjoint_tile,
    output_map_relu_tile,
    output_map_tile,
)

_WHOLE_MAP, _FEW_POINTS = WHOLE_MAP.number, FEW_POINTS.number


@inlined
def edge_of(form):
    """Edge of an output tile."""
    return 4 if form == 4 else 2


@inlined
def side_of(form):
    """Edge of a kernel."""
    return 5 if form == 2 else 3


@inlined
def read_of(form):
    """Edge of the input tile that an output tile reads; of a whole map all but the padding."""
    if form == _FEW_POINTS:
        return 4
    return 2 if form == _WHOLE_MAP else 6


@inlined
def points_of(form):
    """Points of a tile, and of a kernel."""
    if form == _FEW_POINTS:
        return 16
    return 9 if form == _WHOLE_MAP else 36


@inlined
def input_points(form, x, at, reads, out, to, writes, count):
    """B^T d B: 36 input cells to 36 points, 16 to 16, or a map's 4 to 9."""
    if form == _WHOLE_MAP:
        input_map_tile(x, at, reads, out, to, writes, count, x, 0)
    elif form == _FEW_POINTS:
        input_few_tile(x, at, reads, out, to, writes, count, x, 0)
    else:
        input_tile(x, at, reads, out, to, writes, count, x, 0)


@inlined
def kernel_points(form, weight, at, step, out, to, plane):
    """G g G^T of a vector's lanes of kernels: vectors of cells to vectors of points.

    Vectors are read `step` apart and written `plane` apart.
    """
    if form == _WHOLE_MAP:
        kernel_map_vectors(weight, at, step, out, to, plane)
    elif form == _FEW_POINTS:
        kernel3_few_vectors(weight, at, step, out, to, plane)
    elif form == 4:
        kernel3_vectors(weight, at, step, out, to, plane)
    else:
        kernel5_vectors(weight, at, step, out, to, plane)


@inlined
def kernel_points_of_rows(form, flip, weight, at, step, out, to, plane):
    """G g G^T of a vector's lanes of kernels whose cells are neighbours, read `step` apart.

    See `convscape.kernels.cpu.turned`.
    """
    if form == _WHOLE_MAP:
        if flip:
            kernel_map_reversed_rows(weight, at, step, out, to, plane)
        else:
            kernel_map_rows(weight, at, step, out, to, plane)
    elif form == _FEW_POINTS:
        if flip:
            kernel3_few_reversed_rows(weight, at, step, out, to, plane)
        else:
            kernel3_few_rows(weight, at, step, out, to, plane)
    elif form == 4:
        if flip:
            kernel3_reversed_rows(weight, at, step, out, to, plane)
        else:
            kernel3_rows(weight, at, step, out, to, plane)
    elif flip:
        kernel5_reversed_rows(weight, at, step, out, to, plane)
    else:
        kernel5_rows(weight, at, step, out, to, plane)


@inlined
def output_cells(form, relu, products, at, reads, out, to, writes, count, bias, k0):
    """A^T m A plus bias: a tile's points to its output cells."""
    if form == _WHOLE_MAP:
        if relu:
            output_map_relu_tile(products, at, reads, out, to, writes, count, bias, k0)
        else:
            output_map_tile(products, at, reads, out, to, writes, count, bias, k0)
    elif form == _FEW_POINTS:
        if relu:
            output2_few_relu_tile(products, at, reads, out, to, writes, count, bias, k0)
        else:
            output2_few_tile(products, at, reads, out, to, writes, count, bias, k0)
    elif form == 4:
        if relu:
            output4_relu_tile(products, at, reads, out, to, writes, count, bias, k0)
        else:
            output4_tile(products, at, reads, out, to, writes, count, bias, k0)
    elif relu:
        output2_relu_tile(products, at, reads, out, to, writes, count, bias, k0)
    else:
        output2_tile(products, at, reads, out, to, writes, count, bias, k0)


@inlined
def output_points(form, dy, at, reads, out, to, writes, count):
    """A dy A^T: a tile's cells of the output's gradient to its points."""
    if form == _WHOLE_MAP:
        output_map_adjoint_tile(dy, at, reads, out, to, writes, count, dy, 0)
    elif form == _FEW_POINTS:
        output2_few_adjoint_tile(dy, at, reads, out, to, writes, count, dy, 0)
    elif form == 4:
        output4_adjoint_tile(dy, at, reads, out, to, writes, count, dy, 0)
    else:
        output2_adjoint_tile(dy, at, reads, out, to, writes, count, dy, 0)


@inlined
def kernel_cells(form, sums, at, plane, out, to, step):
    """G^T u G of a vector's lanes of kernels: vectors of points to vectors of cells."""
    if form == _WHOLE_MAP:
        kernel_map_adjoint_vectors(sums, at, plane, out, to, step)
    elif form == _FEW_POINTS:
        kernel3_few_adjoint_vectors(sums, at, plane, out, to, step)
    elif form == 4:
        kernel3_adjoint_vectors(sums, at, plane, out, to, step)
    else:
        kernel5_adjoint_vectors(sums, at, plane, out, to, step)


@inlined
def kernel_cells_in_rows(form, sums, at, plane, out, to, step):
    """`kernel_cells` where a kernel's cells become neighbours, and kernels lie `step` apart.

    See `convscape.kernels.cpu.turned`.
    """
    if form == _WHOLE_MAP:
        kernel_map_adjoint_rows(sums, at, plane, out, to, step)
    elif form == _FEW_POINTS:
        kernel3_few_adjoint_rows(sums, at, plane, out, to, step)
    elif form == 4:
        kernel3_adjoint_rows(sums, at, plane, out, to, step)
    else:
        kernel5_adjoint_rows(sums, at, plane, out, to, step)
