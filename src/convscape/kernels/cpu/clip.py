"""What a fused ReLU lets through, as two bounds."""

from math import inf


def bounds(relu: bool | float) -> tuple[float, float]:
    """(low, high) of results: none without a ReLU, (0, inf) with it, (0, n) with ReLU-n.

    Example:
        >>> bounds(False), bounds(True), bounds(6.0)
        ((-inf, inf), (0.0, inf), (0.0, 6.0))
    """
    if isinstance(relu, bool):
        return (0.0 if relu else -inf), inf
    return 0.0, float(relu)
