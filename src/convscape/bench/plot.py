"""A chart of the ratios: a bar for each suite and direction, a dot for each row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convscape.arithmetic.errors import InputError

Results = dict[str, Any]

FASTER, SLOWER, INK, RULE = "#0072B2", "#D55E00", "#1A1A1A", "#B4B9C1"
FORMATS = (".svg", ".png")


def check_writable(file: Path) -> None:
    """Refuse a file that could not be written, before anything is measured.

    Raises:
        InputError: Another ending, a folder that is missing, or one that cannot be written to;
            or Matplotlib is not installed.
    """
    if file.suffix.lower() not in FORMATS:
        raise InputError("--plot takes an .svg or a .png file", str(file), "change its ending")
    before = file.exists()
    try:
        import matplotlib  # noqa: F401

        with file.open("ab"):
            pass
    except ImportError as error:
        raise InputError("--plot needs Matplotlib", str(error), "pip install matplotlib") from None
    except OSError as error:
        raise InputError(
            "--plot must name a file that can be written", str(error), "choose another folder"
        ) from None
    if not before:
        file.unlink()


def plot(results: Results, file: Path) -> None:
    """Write the chart.

    Args:
        results: What `report.show` prints.
        file: Where to, .svg or .png.
    """
    import matplotlib
    from matplotlib.figure import Figure

    entries = [e for e in results["summary"] if e["mean"] is not None]
    figure = Figure(figsize=(8.4, 1.5 + 0.3 * len(entries)), layout="constrained")
    axes = figure.add_subplot()
    for position, entry in enumerate(entries):
        colour = FASTER if entry["mean"] >= 1 else SLOWER
        # A bar starts at 1, as fast as the fastest peer: to the right is faster.
        axes.barh(position, entry["mean"] - 1, left=1, height=0.6, color=colour, alpha=0.85)
        dots = ratios(results["rows"], entry)
        axes.plot(dots, [position] * len(dots), "|", color=INK, markersize=8, alpha=0.6)
        axes.annotate(
            f"{entry['mean']:.2f}", (1.01, position), xycoords=("axes fraction", "data"),
            va="center", color=colour, fontweight="bold",
        )  # fmt: skip
    _frame(axes, entries, results)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "convscape"}):
        figure.savefig(file, dpi=130, metadata={"Date": None} if file.suffix == ".svg" else None)


def ratios(rows: Sequence[dict[str, Any]], entry: dict[str, Any]) -> list[float]:
    """The ratios of the rows that an entry of the summary sums up."""
    keys = ("suite", "direction", "layout")
    same = [row for row in rows if all(row[key] == entry[key] for key in keys)]
    return [row["ratio"] for row in same if row["ratio"] is not None]


def _frame(axes: Any, entries: Sequence[dict[str, Any]], results: Results) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    labels = []
    for e in entries:
        layout = "" if e["layout"] == "any" else f", {e['layout']}"
        labels.append(f"{e['suite']}: {e['direction']}{layout} ({e['compared']})")
    axes.set_yticks(range(len(entries)), labels)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.axvline(1, color=INK, linewidth=1)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    threads = results["threads"]
    # Below the whole figure: below the axes alone it would be cut off where names are long.
    axes.figure.supxlabel(
        "time of the fastest peer over ours, logarithmic: right of 1 ours is faster\n"
        f"bar: geometric mean (its figure on the right); strokes: layers; "
        f"{threads} thread{'s' * (threads > 1)}, {results['machine']['processor']}",
        fontsize="medium",
    )
