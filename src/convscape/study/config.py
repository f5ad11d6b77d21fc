"""What a study is asked to do: one frozen record that validates itself, and the runs it plans.

Standard library only, so that a wrong option is refused before anything heavy is imported.
"""

import math
from dataclasses import asdict, dataclass, fields
from operator import index
from typing import Any, Literal

from convscape.arithmetic.errors import InputError

Arm = Literal["plain", "batchnorm"]
ARMS: tuple[Arm, ...] = ("plain", "batchnorm")


@dataclass(frozen=True, slots=True)
class Run:
    """One network trained once.

    Args:
        arm: `"plain"`, or `"batchnorm"` for the same network with batch normalization.
        learning_rate: The step size of plain SGD, constant over the run.
        seed: Seeds the initial weights and the order of the images; both arms share it.

    Example:
        >>> Run("plain", 0.1, 0).key
        'plain-lr0.1-seed0'
    """

    arm: Arm
    learning_rate: float
    seed: int

    @property
    def key(self) -> str:
        """A name that is unique within a study and safe in a file name."""
        return f"{self.arm}-lr{self.learning_rate:g}-seed{self.seed}"


@dataclass(frozen=True, slots=True)
class Config:
    """What decides the numbers of a study; equal configurations give equal numbers.

    Args:
        data: A known data set's name, or the path of a folder of images or of an .npz file.
        seeds: How many seeds; they are 0, 1, ..., seeds - 1.
        steps: Training steps of every run.
        learning_rates: The constant learning rates at which both arms are trained.
        batch_size: Images of one training step, at least 2 (a batch of one has no variance).
        evaluate_every: Steps between two evaluations in inference mode.
        probe_every: Steps between two probes of the loss landscape.
        probe_early: In so many first steps, every second one is probed as well: a network that
            learns fast passes the higher losses within a few steps, and a comparison at equal
            loss needs probes there.
        probe_factors: The probed step lengths along the gradient, in learning rates.
        blocks: The network, as (filters, convolutions) of each block; see `study.model`.
        decay: Share of the running statistics that a training step keeps.
        image_size: Side in pixels to which a folder's images are resized.
        evaluate_limit: Images of each part, at most, that an evaluation reads.
        test_share: Share of every class held out when the data bring no test part.
        split_seed: Seeds the split; it is not one of the study's seeds.

    Raises:
        InputError: A value is out of its range.

    Example:
        >>> len(Config(seeds=3, learning_rates=(0.1, 0.5)).runs())
        12
    """

    data: str = "digits"
    seeds: int = 3
    steps: int = 400
    learning_rates: tuple[float, ...] = (0.1, 0.5)
    batch_size: int = 64
    evaluate_every: int = 10
    probe_every: int = 10
    probe_early: int = 30
    probe_factors: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    blocks: tuple[tuple[int, int], ...] = ((16, 2), (32, 2), (64, 3))
    decay: float = 0.9
    image_size: int = 32
    evaluate_limit: int = 600
    test_share: float = 0.3
    split_seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.data, str) or not self.data:
            raise InputError(
                "data must be a name or a path", f"data={self.data!r}", "--data digits"
            )
        for name, least in (
            ("seeds", 1),
            ("steps", 1),
            ("batch_size", 2),
            ("evaluate_every", 1),
            ("probe_every", 1),
            ("probe_early", 0),
            ("image_size", 4),
            ("evaluate_limit", 1),
            ("split_seed", 0),
        ):
            object.__setattr__(self, name, _integer(name, getattr(self, name), least))
        for name in ("learning_rates", "probe_factors"):
            object.__setattr__(self, name, _positive(name, getattr(self, name)))
        if len(self.probe_factors) < 2:
            raise InputError(
                "a range needs at least two probed step lengths",
                f"probe_factors={self.probe_factors}",
                "give two or more, 0.5 and 4 for instance",
            )
        if not self.blocks:
            raise InputError("the network needs a block", "blocks=()", "use blocks=((16, 2),)")
        blocks = tuple((_integer("filters", f, 1), _integer("depth", d, 1)) for f, d in self.blocks)
        object.__setattr__(self, "blocks", blocks)
        for name in ("decay", "test_share"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise InputError(
                    f"{name} must lie between 0 and 1", f"{name}={value}", f"use {name}=0.5"
                )

    def runs(self) -> tuple[Run, ...]:
        """Every run of the study; the two arms of a pair stand side by side."""
        return tuple(
            Run(arm, rate, seed)
            for seed in range(self.seeds)
            for rate in self.learning_rates
            for arm in ARMS
        )

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values (tuples become lists)."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Config":
        """The configuration that `as_dict` wrote."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: _tupled(value) for name, value in values.items() if name in known})


def quick_settings() -> dict[str, Any]:
    """The fields that a quick look at a study changes."""
    return {"seeds": 1, "learning_rates": (0.1,)}


def parse_rates(text: str) -> tuple[float, ...]:
    """Learning rates from the command line's comma-separated text.

    Raises:
        InputError: A part is not a positive, finite number, or a rate is given twice.

    Example:
        >>> parse_rates("0.1, 0.5")
        (0.1, 0.5)
    """
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            "learning rates must be numbers separated by commas",
            f"--learning-rates {text!r}",
            "write --learning-rates 0.1,0.5",
        ) from None
    return _positive("learning_rates", rates)


def _integer(name: str, value: Any, least: int) -> int:
    try:
        whole = index(value)
    except TypeError:
        raise InputError(
            f"{name} must be an integer", f"{name}={value!r}", f"use {name}={least}"
        ) from None
    if isinstance(value, bool) or whole < least:
        raise InputError(
            f"{name} must be at least {least}", f"{name}={value!r}", f"use {name}={least} or more"
        )
    return whole


def _positive(name: str, values: Any) -> tuple[float, ...]:
    """Positive, finite, distinct floats, at least one."""
    numbers = tuple(float(value) for value in values)
    if not numbers or not all(math.isfinite(n) and n > 0 for n in numbers):
        raise InputError(
            f"{name} must be positive, finite numbers, at least one",
            f"{name}={numbers}",
            "use 0.1 for instance",
        )
    # Distinct as they are written in a run's name, or two runs would share a file.
    if len({f"{n:g}" for n in numbers}) < len(numbers):
        raise InputError(
            f"{name} must differ from each other", f"{name}={numbers}", "give each value once"
        )
    return numbers


def _plain(value: Any) -> Any:
    return [_plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(part) for part in value) if isinstance(value, list) else value
