"""What every algorithm says to one layer; the standard library alone, so it answers at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.errors import InputError
from convscape.kernels import Problem, explain
from convscape.kernels.algorithm import DIRECTIONS


@dataclass(frozen=True, slots=True)
class Setting:
    """A layer on an input.

    Args:
        layer: The layer.
        cells: The input's sizes.
        batch: Images.
        dtype: Name of the element type.
    """

    layer: Layer
    cells: Sequence[int]
    batch: int = 1
    dtype: str = "float32"

    def problems(self) -> list[Problem]:
        """One for each direction; of a convolution three."""
        layer = self.layer
        if layer.operation == "transposed":
            raise InputError(
                "explain takes a convolution or a pooling",
                "--transposed",
                "explain the convolution that it transposes: its input gradient is what runs",
            )
        shape = (self.batch, layer.in_channels, *self.cells)
        geometry = layer.geometry(self.cells)
        if layer.pooling:
            return [Problem("pooling", shape, self.dtype, geometry=geometry)]
        return [
            Problem("convolution", shape, self.dtype, geometry=geometry, direction=direction)
            for direction in DIRECTIONS
        ]


@dataclass(frozen=True, slots=True)
class Explained:
    """The answer: a row for each direction and algorithm.

    Args:
        setting: What was asked.
        rows: Objects with `direction`, `algorithm`, `cost`, `workspace`, `refusal`, `chosen`.
    """

    setting: Setting
    rows: list[dict[str, Any]] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """What `--json` prints: see docs/cli-json-bench.md."""
        layer = self.setting.layer
        return {
            "operation": layer.operation,
            "shape": [self.setting.batch, layer.in_channels, *self.setting.cells],
            "dtype": self.setting.dtype,
            "output": list(layer.outputs(self.setting.cells)),
            "algorithms": self.rows,
        }


def explained(setting: Setting) -> Explained:
    """Ask every algorithm.

    Raises:
        InputError: A transposed convolution, or a window that does not fit.

    Example:
        >>> layer = Layer.of("torch", "conv", 3, padding=1, rank=2, in_channels=64)
        >>> answer = explained(Setting(layer, (56, 56)))
        >>> [row["algorithm"] for row in answer.rows if row["chosen"]]
        ['winograd', 'winograd', 'winograd']
    """
    rows = [
        {
            "direction": problem.direction,
            "algorithm": verdict.algorithm.name,
            "cost": verdict.cost,
            "workspace": verdict.workspace,
            "refusal": verdict.refusal,
            "chosen": verdict.chosen,
        }
        for problem in setting.problems()
        for verdict in explain(problem)
    ]
    return Explained(setting, rows)
