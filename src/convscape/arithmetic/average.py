"""What an average pooling divides by."""

from convscape.arithmetic.window import Window


def divisors(window: Window, n: int, counted: tuple[int, int]) -> tuple[int, ...]:
    """The cells of each window that count, on n input cells.

    A kernel cell counts when it lies on the input or on the `counted` padding: (0, 0) to count real
    cells only, the configured padding for PyTorch's `count_include_pad`. The overhang that
    `ceil_mode` adds beyond the configured padding never counts.

    Args:
        window: The window, its padding explicit (and stretched, with `ceil_mode`).
        n: Input cells.
        counted: Padding cells at the (low, high) end that count.

    Returns:
        One number for each output cell; for several axes the divisor is their product.

    Source: the definition of `torch.nn.AvgPool2d`.

    Example:
        >>> divisors(Window(3, padding=(1, 1)), 4, counted=(0, 0))
        (2, 3, 3, 2)
    """
    low, high = -counted[0], n + counted[1]
    return tuple(
        sum(
            low <= start < high
            for start in range(window.start(o), window.start(o) + window.extent, window.dilation)
        )
        for o in range(window.output(n))
    )
