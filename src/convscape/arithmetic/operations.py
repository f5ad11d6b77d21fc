"""The operations that slide a window, and the one spelling of their names."""

from typing import Literal, get_args

from convscape.arithmetic.errors import InputError

Operation = Literal["conv", "transposed", "max_pool", "avg_pool"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)


def operation(name: str) -> Operation:
    """The operation of this name.

    Raises:
        InputError: The name is not one of `OPERATIONS`.

    Example:
        >>> operation("max_pool")
        'max_pool'
    """
    if name not in OPERATIONS:
        raise InputError(
            "the operation must be a known one",
            f"{name!r}",
            f"known operations: {', '.join(OPERATIONS)}",
        )
    return name
