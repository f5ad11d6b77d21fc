"""What a formula along rows of memory computes with: the operations on one vector."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

Some = Sequence[Any]


class Values:
    """What a formula computes with: the operations on one vector."""

    def __init__(self, builder: Any, vector: Any, fma: Any) -> None:
        self.builder = builder
        self.zero = ir.Constant(vector, [0.0] * vector.count)
        self._fma = fma

    def add(self, a: Any, b: Any) -> Any:
        """The sum a + b."""
        return self.builder.fadd(a, b)

    def less(self, a: Any, b: Any) -> Any:
        """The difference a - b."""
        return self.builder.fsub(a, b)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """The sum a b + c, rounded once: the same bits wherever it is computed."""
        return self.builder.call(self._fma, [a, b, c])

    def above(self, bound: Any, test: Any, value: Any) -> Any:
        """0 where test <= bound, else the value: where one of the two is NaN, the value."""
        return self.builder.select(self.builder.fcmp_ordered("<=", test, bound), self.zero, value)


Formula = Callable[[Values, Some, Some, Some], tuple[Some, Some]]
"""(operations, values read, coefficients, sums so far) -> (values to write, new sums)."""
