"""Batch normalization of a small batch, step by step, with its numbers."""

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

from convscape.arithmetic.errors import InputError
from convscape.figures.figure import DEFAULT_SECONDS, Figure
from convscape.figures.numbers import Grid, Number, exact, parse, written
from convscape.figures.scene import Line, Rect, Scene, Shape, Text, fitted, text_width

MARGIN, CELL_W, CELL_H, GAP = 18, 56, 28, 46
MAX_ROWS, MAX_COLUMNS = 12, 8

EXAMPLE: Grid = tuple(
    tuple(Fraction(v) for v in row) for row in ((1, 10, 3), (3, 14, 3), (5, 10, 0), (7, 6, 2))
)
"""Four samples of three features."""

STEPS = (
    "The batch: one row a sample, one column a feature.",
    "Mean of each feature over the batch.",
    "Variance: the mean of the squared distances from the mean.",
    "Normalize: subtract the mean, divide by the root of variance + ε.",
    "Scale by γ and shift by β; both are learned.",
)


def batch_norm_figure(
    batch: str | Grid = "example",
    *,
    gamma: Sequence[int | Fraction] | str | None = None,
    beta: Sequence[int | Fraction] | str | None = None,
    epsilon: Fraction | float | str = Fraction(1, 1000),
    step: int | None = None,
    title: str = "Batch normalization",
    theme: str = "auto",
    seconds: float = 2 * DEFAULT_SECONDS,
) -> Figure:
    """Draw the training-time normalization of a batch: mean, variance, normalize, scale and shift.

    mean = Σ x / m; variance = Σ (x - mean)² / m; x̂ = (x - mean) / sqrt(variance + epsilon);
    y = gamma x̂ + beta, for each feature over the m samples.

    Args:
        batch: "example", text such as "1,2;3,4" (rows are samples), or rows of numbers; at most
            12 samples of 8 features.
        gamma: Scale of each feature; None is 2, 1, 0.5, 2, ...
        beta: Shift of each feature; None is 0, 1, -1, 0, ...
        epsilon: Added to the variance.
        step: The still shows the steps up to this one, 0 to 4; None shows all.
        title: Heading.
        theme: light, dark or auto.
        seconds: How long a frame of the animation stays.

    Raises:
        InputError: A batch that is too large, lengths that do not match, or an epsilon below 0.

    Source: S. Ioffe and C. Szegedy, "Batch Normalization", ICML 2015, algorithm 1.
    """
    x = EXAMPLE if batch == "example" else _rows(batch)
    m, features = len(x), len(x[0])
    if m > MAX_ROWS or features > MAX_COLUMNS:
        raise InputError(
            f"a batch is drawn up to {MAX_ROWS} samples of {MAX_COLUMNS} features",
            f"{m} of {features}",
            "draw fewer",
        )
    small = _epsilon(epsilon)
    scale = _per_feature("gamma", gamma, features, (Fraction(2), Fraction(1), Fraction(1, 2)))
    shift = _per_feature("beta", beta, features, (Fraction(0), Fraction(1), Fraction(-1)))
    mean, variance = moments(x)
    if small < 0 or any(v + small <= 0 for v in variance):
        raise InputError(
            "variance + epsilon must be positive",
            f"epsilon={epsilon}, variances {', '.join(map(written, variance))}",
            "use epsilon=0.001",
        )
    normal = tuple(
        tuple((v - mean[c]) / _root(variance[c] + small) for c, v in enumerate(row)) for row in x
    )
    y = tuple(tuple(scale[c] * v + shift[c] for c, v in enumerate(row)) for row in normal)
    pages = _Pages(x, mean, variance, normal, y, scale, shift, small, title)
    last = len(STEPS) - 1
    at = last if step is None else step
    if not 0 <= at <= last:
        raise InputError("the step must be one of the five", f"{at}", "use 0 to 4")
    frames = tuple(pages.frame(i) for i in range(len(STEPS)))
    said = (
        f"{m} samples of {features} features: mean {', '.join(map(written, mean))}; variance "
        f"{', '.join(map(written, variance))}; normalized, scaled and shifted."
    )
    return Figure(frames[at], title or "Batch normalization", said, frames, theme, seconds)


def moments(x: Grid) -> tuple[tuple[Number, ...], tuple[Number, ...]]:
    """Mean and (biased) variance of each column, exactly.

    Example:
        >>> [list(map(str, row)) for row in moments(EXAMPLE)]
        [['4', '10', '2'], ['5', '8', '3/2']]
    """
    m = len(x)
    columns = list(zip(*x, strict=True))
    mean = tuple(sum(column, Fraction(0)) / m for column in columns)
    variance = tuple(
        sum(((v - mu) ** 2 for v in column), Fraction(0)) / m
        for column, mu in zip(columns, mean, strict=True)
    )
    return mean, variance


class _Pages:
    """The five pictures; everything has the same place on each of them."""

    def __init__(
        self,
        x: Grid,
        mean: Sequence[Number],
        variance: Sequence[Number],
        normal: Grid,
        y: Grid,
        gamma: Sequence[Number],
        beta: Sequence[Number],
        epsilon: Number,
        title: str,
    ) -> None:
        self.x, self.mean, self.variance, self.normal, self.y = x, mean, variance, normal, y
        self.gamma, self.beta, self.epsilon, self.title = gamma, beta, epsilon, title
        self.wide = len(x[0]) * CELL_W
        self.high = len(x) * CELL_H
        said = max(text_width(f"5. {s}", 13) for s in STEPS)
        self.width = max(3 * self.wide + 2 * GAP + 40, said) + 2 * MARGIN
        self.top = MARGIN + (28 if title else 0) + 46

    def frame(self, step: int) -> Scene:
        shapes: list[Shape] = []
        if self.title:
            shapes.append(Text(MARGIN, MARGIN + 8, self.title, 16, anchor="start", bold=True))
        said = f"{step + 1}. {STEPS[step]}"
        shapes.append(Text(MARGIN, self.top - 38, said, 13, anchor="start", key="step"))
        x0 = MARGIN + 40.0
        shapes += self._table(x0, "batch x", self.x, "cell", "x")
        y = self.top + self.high + 14
        if step >= 1:
            shapes += self._row(x0, y, "μ", self.mean, "window" if step == 1 else "kernel", "mean")
        if step >= 2:
            now = "window" if step == 2 else "kernel"
            shapes += self._row(x0, y + CELL_H + 8, "σ²", self.variance, now, "variance")
        if step >= 3:
            x1 = x0 + self.wide + GAP
            shapes += self._table(x1, "normalized x̂", self.normal,
                                  "window" if step == 3 else "cell", "normal")  # fmt: skip
            shapes.append(self._arrow(x1))
        if step >= 4:
            x1 = x0 + self.wide + GAP
            x2 = x1 + self.wide + GAP
            shapes += self._table(x2, "output y", self.y, "now", "y")
            shapes.append(self._arrow(x2))
            shapes += self._row(x2, y, "γ", self.gamma, "kernel", "gamma")
            shapes += self._row(x2, y + CELL_H + 8, "β", self.beta, "kernel", "beta")
        bottom = y + 2 * CELL_H + 22
        for text in self._formulas(step):
            size = fitted(text, 12.5, self.width - 2 * MARGIN)
            shapes.append(Text(MARGIN, bottom + 8, text, size, "muted", "start", key="formula"))
            bottom += 20
        height = y + 2 * CELL_H + 22 + 4 * 20 + MARGIN
        return Scene(round(self.width), round(height), tuple(shapes))

    def _formulas(self, step: int) -> list[str]:
        """Each step's formula with the numbers of the first feature (and sample)."""
        m = len(self.x)
        column = [row[0] for row in self.x]
        mean, variance = self.mean[0], self.variance[0]
        root = _root(variance + self.epsilon)
        total = sum(column, Fraction(0))
        spread = " + ".join(f"({written(v)} − {_f(mean)})²" for v in column[:4])
        spread += " + …" if m > 4 else ""
        first, normal, out = self.x[0][0], self.normal[0][0], self.y[0][0]
        gamma, beta = self.gamma[0], self.beta[0]
        small = f"{float(self.epsilon):g}"
        lines = [
            f"μ = Σ x / m: feature 1 has {written(total)} / {m} {_is(mean)} {written(mean)}",
            f"σ² = Σ (x − μ)² / m = ({spread}) / {m} {_is(variance)} {written(variance)}",
            f"x̂ = (x − μ) / √(σ² + ε) = ({written(first)} − {_f(mean)}) / "
            f"√({written(variance)} + {small}) ≈ {written(first - mean)} / {written(root, 3)} ≈ "
            f"{written(normal, 2)}",
            f"y = γ x̂ + β = {written(gamma)} · {_f(normal, 2)} + {_f(beta)} ≈ {written(out, 2)}",
        ]
        return lines[:step]

    def _table(self, x0: float, name: str, rows: Grid, fill: str, key: str) -> list[Shape]:
        out: list[Shape] = [Text(x0, self.top - 10, name, 12, "muted", "start")]
        digits = None if key == "x" else 2
        for r, row in enumerate(rows):
            for c, value in enumerate(row):
                x, y = x0 + c * CELL_W, self.top + r * CELL_H
                out += _cell(x, y, written(value, digits), fill, f"{key} {r} {c}")
        return out

    def _row(
        self, x0: float, y: float, name: str, values: Sequence[Number], fill: str, key: str
    ) -> list[Shape]:
        out: list[Shape] = [Text(x0 - 10, y + CELL_H / 2, name, 14, anchor="end")]
        for c, value in enumerate(values):
            out += _cell(x0 + c * CELL_W, y, written(value), fill, f"{key} {c}")
        return out

    def _arrow(self, x: float) -> Line:
        y = self.top + self.high / 2
        return Line(((x - GAP + 8, y), (x - 8, y)), "muted", 1.5, arrow=True)


def _cell(x: float, y: float, text: str, fill: str, key: str) -> list[Shape]:
    size = fitted(text, 14, CELL_W - 6)
    return [
        Rect(x, y, CELL_W, CELL_H, fill, "line"),
        Text(x + CELL_W / 2, y + CELL_H / 2, text, size, key=key),
    ]


def _epsilon(given: Fraction | float | str) -> Fraction:
    try:
        value = Fraction(str(given))
    except (ValueError, ZeroDivisionError):
        value = Fraction(-1)
    if not 0 <= value <= 1:
        raise InputError("epsilon must be a number from 0 to 1", f"{given!r}"[:40], "use 0.001")
    return value


def _root(value: Number) -> Fraction:
    """The square root to 15 decimals."""
    scale = 10**30
    return Fraction(isqrt(value.numerator * scale // value.denominator), 10**15)


def _is(value: Number) -> str:
    return "=" if exact(value, None) else "≈"


def _f(value: Number, digits: int | None = None) -> str:
    text = written(value, digits)
    return f"({text})" if value < 0 else text


def _rows(batch: str | Grid) -> Grid:
    if not isinstance(batch, str):
        if not batch or not batch[0] or len({len(row) for row in batch}) > 1:
            raise InputError(
                "a batch has rows of equal length", f"{batch!r}"[:60], "one row a sample"
            )
        return tuple(tuple(Fraction(v) for v in row) for row in batch)
    maps = parse(batch)
    if len(maps) > 1:
        raise InputError("a batch is one table", f"{len(maps)} tables", "leave | out")
    return maps[0]


def _per_feature(
    name: str,
    given: Sequence[int | Fraction] | str | None,
    features: int,
    default: tuple[Fraction, ...],
) -> tuple[Number, ...]:
    if given is None:
        return tuple(default[c % len(default)] for c in range(features))
    values = parse(given)[0][0] if isinstance(given, str) else tuple(Fraction(v) for v in given)
    if len(values) == 1:
        values = values * features
    if len(values) != features:
        raise InputError(
            f"{name} needs one number a feature",
            f"{len(values)} for {features} features",
            f"give 1 or {features}",
        )
    return values
