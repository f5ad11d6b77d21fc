"""Puts a `Network` together operation by operation: the calculus of shapes, costs and fields.

Every reader speaks to this: an operation comes with its windows spelled out, and its tensor's
shape, MACs and receptive fields follow here. Shapes hold the batch axis first.
"""

from convscape.arithmetic.builder.cells import CellOperations
from convscape.arithmetic.builder.checks import broadcast
from convscape.arithmetic.builder.order import OrderOperations
from convscape.arithmetic.builder.windows import WindowOperations

__all__ = ["Builder", "broadcast"]


class Builder(WindowOperations, CellOperations, OrderOperations):
    """Collects the operations of a network in the order that they run.

    Args:
        name: The model's name.
        framework: Where it comes from.
        batch: Samples in a batch.

    Example:
        >>> b = Builder("net")
        >>> x = b.input("image", (1, 3, 32, 32))
        >>> windows = (Window(3, padding=(1, 1)), Window(3, padding=(1, 1)))
        >>> y = b.conv("first", x, windows, axes=(2, 3), channel_axis=1, out_channels=8)
        >>> y.shape, y.macs
        ((1, 8, 32, 32), 221184)
    """
