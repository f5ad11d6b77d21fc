"""The report's figures: one small SVG a panel, coloured by the page's style sheet.

Each panel is a figure of its own, so that the page can set them side by side or, on a telephone,
one below the other. Colours are placeholders that become CSS variables, which follow the
reader's light or dark theme. The two arms differ in line style too, not in colour alone.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

Record = dict[str, Any]
Curve = tuple[Sequence[float], Sequence[float]]

# Placeholder colours, and the CSS variable that each becomes.
COLOURS = {"#010101": "--ink", "#020202": "--rule", "#d55e01": "--plain", "#0072b1": "--batchnorm"}
INK, RULE, PLAIN, BATCHNORM = COLOURS
STYLE: dict[str, dict[str, Any]] = {
    "plain": {"color": PLAIN, "linestyle": (0, (4, 1.5))},
    "batchnorm": {"color": BATCHNORM, "linestyle": "-"},
}
SIZE = (4.3, 2.9)
# On its way to divergence a loss passes many powers of ten, which would flatten all the rest.
CEILING = 30.0


def panel(draw: Callable[[Axes], None], name: str, label: str) -> str:
    """One figure as an inline SVG element.

    Args:
        draw: Draws into the axes.
        name: Unique on the page; prefixes every id.
        label: What the figure shows, for readers that cannot see it.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    _frame(axes)
    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    # Text stays text; ids depend on the name alone, so that equal results give an equal page.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue(), name, label)


def by_step(
    axes: Axes,
    arms: dict[str, list[Record]],
    curve: Callable[[Record], Curve],
    *,
    log: bool = False,
    ylabel: str = "",
) -> None:
    """Median over the seeds with the band from least to greatest; a cross where a run diverged."""
    for arm, records in arms.items():
        steps, low, middle, high = across(records, curve)
        axes.fill_between(steps, low, high, color=STYLE[arm]["color"], alpha=0.18, linewidth=0)
        axes.plot(steps, middle, linewidth=1.8, **STYLE[arm])
        for record in records:
            if record["diverged_at"] is not None:
                x, y = curve(record)
                if len(x):
                    axes.plot(x[-1], y[-1], "X", color=STYLE[arm]["color"], markersize=8)
    _finish(axes, log=log)
    axes.set_ylabel(ylabel)


def across(
    records: list[Record], curve: Callable[[Record], Curve]
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Steps, least, median and greatest over the runs that have a value there.

    Args:
        records: Runs of one arm and learning rate.
        curve: The steps and values of a run; values that are not finite are left out.
    """
    at: dict[float, list[float]] = {}
    for record in records:
        for x, y in zip(*curve(record), strict=True):
            if y is not None and np.isfinite(y):
                at.setdefault(x, []).append(y)
    steps = sorted(at)
    return (
        steps,
        [min(at[s]) for s in steps],
        [float(np.median(at[s])) for s in steps],
        [max(at[s]) for s in steps],
    )


def evaluation(name: str, floor: float = 0.0) -> Callable[[Record], Curve]:
    """The error, in per cent, of the `"train"` or `"test"` part by step, at least `floor`."""

    def curve(record: Record) -> Curve:
        found = record["evaluations"]
        errors = [max(100 * (1 - e[f"{name}_accuracy"]), floor) for e in found]
        return [e["step"] for e in found], errors

    return curve


def training_loss(width: int) -> Callable[[Record], Curve]:
    """The loss of the training batches, averaged over `width` steps each, at most `CEILING`."""

    def curve(record: Record) -> Curve:
        losses = record["losses"]
        starts = range(0, len(losses), width)
        return (
            [min(s + width, len(losses)) for s in starts],
            [min(float(np.mean(losses[s : s + width])), CEILING) for s in starts],
        )

    return curve


def probed(name: str) -> Callable[[Record], Curve]:
    """One probe by step."""

    def curve(record: Record) -> Curve:
        found = [p for p in record["probes"] if p[name]]
        return [p["step"] for p in found], [p[name] for p in found]

    return curve


def loss_band(axes: Axes, arms: dict[str, list[Record]]) -> None:
    """From the least to the greatest loss along the gradient, each the seeds' median."""
    for arm, records in arms.items():
        low = across(records, lambda r: _extreme(r, min))
        high = across(records, lambda r: _extreme(r, max))
        common = sorted(set(low[0]) & set(high[0]))
        lows = [low[2][low[0].index(s)] for s in common]
        highs = [high[2][high[0].index(s)] for s in common]
        axes.fill_between(common, lows, highs, color=STYLE[arm]["color"], alpha=0.3, linewidth=0)
        for edge in (lows, highs):
            axes.plot(common, edge, linewidth=1.0, **STYLE[arm])
    _finish(axes, log=True)
    axes.set_ylabel("loss along the gradient")


def by_rate(axes: Axes, rates: list[dict[str, Any]], floor: float) -> None:
    """The best test error of both arms over the learning rate, with the seeds' range.

    An error below `floor`, in per cent, is drawn there: zero has no logarithm.
    """
    for arm, marker in (("plain", "o"), ("batchnorm", "s")):
        x = [entry["learning_rate"] for entry in rates]
        found = [entry["arms"][arm]["best_accuracy"] for entry in rates]
        middle, low, high = (
            np.array([max(100 * (1 - f[name]), floor) for f in found])
            for name in ("median", "greatest", "least")
        )
        axes.errorbar(
            x,
            middle,
            yerr=[middle - low, high - middle],
            marker=marker,
            markersize=6,
            capsize=4,
            **STYLE[arm],
        )
    axes.set_xscale("log")
    axes.set_xticks([entry["learning_rate"] for entry in rates])
    axes.set_yscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("lowest test error, %")


def mark_steps(axes: Axes, steps: dict[str, Any]) -> None:
    """Vertical marks at each arm's median steps to the plain network's best."""
    for arm in ("plain", "batchnorm"):
        values = [seed[arm] for seed in steps["seeds"] if seed[arm] is not None]
        if values:
            axes.axvline(
                float(np.median(values)), color=STYLE[arm]["color"], linewidth=1, alpha=0.8
            )


def _extreme(record: Record, choose: Callable[[list[float]], float]) -> Curve:
    found = [p for p in record["probes"] if None not in p["losses"]]
    return [p["step"] for p in found], [choose(p["losses"]) for p in found]


def _finish(axes: Axes, *, log: bool) -> None:
    """The axes of a figure by step; a logarithmic one only where something can be drawn on it."""
    drawn = [value for line in axes.lines for value in np.ravel(line.get_ydata())]
    if not drawn:
        axes.text(0.5, 0.5, "no finite values", color=INK, ha="center", transform=axes.transAxes)
        axes.set_yticks([])
    elif log and max(drawn) > 0:
        axes.set_yscale("log", nonpositive="clip")
    axes.set_xlabel("training step")
    axes.margins(x=0.01)


def _frame(axes: Axes) -> None:
    """Quiet axes: two spines, faint rules, plain numbers, sizes for a panel of 4 inches."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(which="both", colors=INK, labelsize=10)
    axes.tick_params(which="minor", length=2)
    axes.grid(True, which="major", color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(11)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _inline(svg: str, name: str, label: str) -> str:
    """The svg element alone: ids that are unique on the page, colours of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', svg)
    # The page sets the size; the viewBox keeps the proportions.
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for colour, variable in COLOURS.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
