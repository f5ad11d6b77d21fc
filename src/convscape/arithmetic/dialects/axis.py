"""One axis of a layer the way a framework's user writes it, and what every dialect refuses."""

from dataclasses import dataclass

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.operations import Operation
from convscape.arithmetic.padding import Padding, known_size
from convscape.arithmetic.window import Window


@dataclass(frozen=True, slots=True)
class Axis:
    """Settings of one axis, still in a framework's own spelling.

    Args:
        operation: One of `OPERATIONS`.
        n: Input cells.
        kernel: Kernel cells.
        stride: Step; of a transposed convolution the step of its output.
        padding: A name, an int or a (low, high) pair, meaning what the framework means by it.
        dilation: Distance between kernel cells.
        ceil_mode: Round the number of pooling windows up.
        output_padding: Of a transposed convolution, as the framework means it; None is not 0 in
            Keras.
        output_size: Of a transposed convolution in ONNX, the size to reach (`output_shape`).

    Raises:
        InputError: A value no dialect could mean.
    """

    operation: Operation
    n: int
    kernel: int
    stride: int
    padding: Padding
    dilation: int = 1
    ceil_mode: bool = False
    output_padding: int | None = None
    output_size: int | None = None

    def __post_init__(self) -> None:
        Window(self.kernel, self.stride, self.dilation)
        object.__setattr__(self, "n", known_size(self.n))
        if self.n < 1:
            raise InputError("the input must not be empty", f"n={self.n}", "give n of at least 1")
        if self.ceil_mode and not self.pooling:
            raise InputError(
                "ceil_mode is an option of pooling", self.operation, "leave ceil_mode out"
            )
        for name in ("output_padding", "output_size"):
            value = getattr(self, name)
            if value is not None and self.operation != "transposed":
                raise InputError(
                    f"{name} is an option of a transposed convolution",
                    f"{self.operation} with {name}={value}",
                    f"leave {name} out",
                )
            if value is not None and value < 0:
                raise InputError(f"{name} must not be negative", f"{name}={value}", f"use {name}=0")

    @property
    def pooling(self) -> bool:
        """Whether it is max or average pooling."""
        return self.operation in ("max_pool", "avg_pool")

    @property
    def extent(self) -> int:
        """Dilation (kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1


def pair(padding: int | tuple[int, int], *, crop: bool = False) -> tuple[int, int]:
    """An int or a pair as a pair, refused when negative unless cropping is meant.

    Example:
        >>> pair(2)
        (2, 2)
    """
    low, high = Window(
        1, padding=(padding, padding) if isinstance(padding, int) else padding
    ).padding
    if min(low, high) < 0 and not crop:
        raise InputError(
            "padding must not be negative",
            f"padding={padding!r}",
            "crop the input before the layer",
        )
    return low, high


def unknown_name(dialect: str, axis: Axis, known: tuple[str, ...], fix: str = "") -> InputError:
    """The error for a padding name that a dialect does not have for an operation."""
    return InputError(
        f"{dialect} must know the padding of {axis.operation}",
        f"padding={axis.padding!r}",
        fix or f"{dialect} has {', '.join(known)}",
    )
