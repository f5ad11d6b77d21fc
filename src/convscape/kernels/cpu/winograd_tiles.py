"""Tiles of an image in channels-last memory, its border included."""

from convscape.kernels.cpu.jit import kernel
from convscape.kernels.cpu.winograd_transforms import input_points, output_cells


@kernel
def gather(x, strides, size, channels, top, left, at, edge, patch):
    """The edge x edge tile whose corner is (top, left), into `patch`; outside there are zeros."""
    patch[:] = 0
    for i in range(max(0, -top), min(edge, size[0] - top)):
        for j in range(max(0, -left), min(edge, size[1] - left)):
            source = x[at + (top + i) * strides[1] + (left + j) * strides[2] :]
            line = patch[(i * edge + j) * channels : (i * edge + j + 1) * channels]
            for c in range(channels):
                line[c] = source[c]


@kernel
def inside(top, left, size, edge):
    """Whether the tile reads real cells only."""
    return top >= 0 and left >= 0 and top + edge <= size[0] and left + edge <= size[1]


@kernel
def load_tile(x, strides, size, channels, top, left, at, within, patch, reads, out, to, writes):
    """Transform the input tile whose corner is (top, left)."""
    if inside(top, left, size, 6):
        corner = at + top * strides[1] + left * strides[2]
        input_points(x, corner, within, out, to, writes, channels)
    else:
        gather(x, strides, size, channels, top, left, at, 6, patch)
        input_points(patch, 0, reads, out, to, writes, channels)


@kernel
def store_tile(
    edge, products, at, reads, y, corner, placed, real, bias, k0, relu, top, left, size,
    border, bordered,
):  # fmt: skip
    """The output tile at (top, left) of a map of this size from its products, plus bias.

    A tile that the border cuts is made in `border` and its real cells are copied.
    """
    if inside(top, left, size, edge):
        output_cells(edge, relu, products, at, reads, y, corner, placed, real, bias, k0)
        return
    output_cells(edge, relu, products, at, reads, border, 0, bordered, real, bias, k0)
    for i in range(min(edge, size[0] - top)):
        for j in range(min(edge, size[1] - left)):
            cell = i * edge + j
            out = y[corner + placed[cell] : corner + placed[cell] + real]
            source = border[bordered[cell] :]
            for k in range(real):
                out[k] = source[k]
