"""What one sees: the machine, a table a suite with its losses marked, and the means."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convscape.bench.busy import NOISY
from convscape.bench.summary import lost

Row = dict[str, Any]
Results = dict[str, Any]

_WIDTH = 140  # what the widest table takes; a narrower terminal breaks its lines


def show(results: Results, console: Console | None = None) -> None:
    """Print a whole result, finished or interrupted."""
    console = console or Console()
    console.width = max(console.width, _WIDTH)
    _show_machine(results, console)
    for suite in dict.fromkeys(row["suite"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["suite"] == suite]
        console.print()
        console.print(_table(suite, rows, _spare(results)))
        for line in _refusals(rows):
            console.print(Text(line, "dim"))
        for row in rows:
            if row["status"] != "measured":
                what = f"{row['case']}, {row['direction']}, {row['layout']}"
                console.print(Text(f"{row['status'].upper()} {what}: {row['problem']}", "bold red"))
    console.print()
    console.print(_means(results["summary"]))
    spare = _spare(results)
    noisy = [row["others"] for row in results["rows"] if (row["others"] or 0) > spare]
    if noisy:
        console.print(
            Text(
                f"{len(noisy)} rows are marked busy: other processes kept up to {max(noisy):.1f} "
                f"of {results['machine']['cores']} cores meanwhile; measure them again",
                "yellow",
            )
        )
    if results["interrupted"]:
        console.print(Text("interrupted: what is above is what was measured until then", "yellow"))


def _spare(results: Results) -> float:
    """Cores that others may keep busy before they take ours."""
    return max(0, int(results["machine"]["cores"]) - int(results["threads"])) + NOISY


def _show_machine(results: Results, console: Console) -> None:
    m, limits = results["machine"], results["limits"]
    memory = f", {m['memory_gib']} GiB" if m["memory_gib"] else ""
    unit = ", matrix unit (AMX)" if m["matrix_unit"] else ""
    found = [f"{n} {v}" for n, v in results["versions"].items() if v]
    missing = [n for n, v in results["versions"].items() if not v]
    lines = [
        f"{m['processor']}, {m['cores']} cores, {m['vector_bits']}-bit vectors{unit}{memory}, "
        f"{m['system']}",
        f"{results['threads']} thread{'s' * (results['threads'] > 1)}, {results['rounds']} rounds, "
        f"float32; measured peaks: {limits['flops'] / 1e9:.0f} GFLOP/s of multiply-adds, "
        f"{limits['bandwidth'] / 1e9:.1f} GB/s copied",
        ", ".join(found) + ("; not installed: " + ", ".join(missing) if missing else ""),
        *results["notes"],
        "times are medians, ± half the distance between the quartiles; error: the largest over the "
        "output's root mean square, against float64",
    ]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _table(suite: str, rows: Sequence[Row], spare: float) -> Table:
    table = Table(title=suite, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for head in ("ours, ms", "fastest peer", "ms", "ratio", "of limit", "error"):
        table.add_column(head, justify="left" if head == "fastest peer" else "right", no_wrap=True)
    before = None
    for row in rows:
        case = f"{row['source']}: {row['case']}, batch {row['batch']}"
        if row["direction"] == row["case"]:
            table.add_row(case, *_figures(row, spare))
            continue
        if case != before:
            table.add_row(case)
        layout = "" if row["layout"] == "any" else f", {row['layout']}"
        table.add_row(f"  {row['direction']}{layout}", *_figures(row, spare))
        before = case
    return table


def _figures(row: Row, spare: float) -> list[Text]:
    error = row["errors"].get("convscape")
    shown = Text("-" if error is None else f"{error:.0e}")
    if row["status"] != "measured":
        return [Text(row["status"].upper(), "bold red"), *[Text("")] * 4, shown]
    peer = row["fastest_peer"]
    limit = Text(f"{row['of_limit']:.0%} {row['bound']}")
    if peer is None:
        return [_time(row, "convscape"), *[Text("-")] * 3, limit, shown]
    ratio = Text(f"{row['ratio']:.2f}")
    if (row["others"] or 0) > spare:
        shown.append(" busy", "yellow")
    if lost(row):
        ratio = Text(f"loss {row['ratio']:.2f}", "bold red")
    return [_time(row, "convscape"), Text(peer), _time(row, peer), ratio, limit, shown]


def _time(row: Row, name: str) -> Text:
    """The median, and half the distance between the quartiles in per cent of it."""
    t = row["times"][name]
    spread = (t["high"] - t["low"]) / 2 / t["median"]
    return Text(f"{1e3 * t['median']:.3g}").append(f" ±{spread:3.0%}", "dim")


def _refusals(rows: Sequence[Row]) -> list[str]:
    """Who was not timed and why, one line a reason."""
    grouped: dict[tuple[str, int], list[str]] = {}
    counted: dict[tuple[str, str], int] = {}
    for row in rows:
        if row["status"] == "measured":
            for name, reason in row["refused"].items():
                counted[name, reason] = counted.get((name, reason), 0) + 1
    for (name, reason), count in counted.items():
        grouped.setdefault((reason, count), []).append(name)
    return [
        f"  without {', '.join(names)}"
        f"{'' if count == len(rows) else f' ({count} of {len(rows)} rows)'}: {reason}"
        for (reason, count), names in grouped.items()
    ]


def _means(entries: Sequence[Row]) -> Table:
    title = "time of the fastest peer over ours (above 1: ours is faster)"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("suite")
    table.add_column("direction, layout")
    for head in ("rows", "geometric mean", "worst", "best", "losses", "wrong"):
        table.add_column(head, justify="right")
    for e in entries:
        layout = "" if e["layout"] == "any" else f", {e['layout']}"
        numbers = ["-" if e[key] is None else f"{e[key]:.2f}" for key in ("mean", "worst", "best")]
        losses = Text(f"{e['losses']} of {e['compared']}", "bold red" if e["losses"] else "")
        wrong = Text(str(e["wrong"]), "bold red" if e["wrong"] else "")
        table.add_row(e["suite"], e["direction"] + layout, str(e["rows"]), *numbers, losses, wrong)
    return table
