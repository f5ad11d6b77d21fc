"""What all rows say together: geometric means and losses, by suite and direction."""

from collections.abc import Sequence
from typing import Any

from convscape.bench.measure import geometric_mean

Row = dict[str, Any]


def lost(row: Row) -> bool:
    """Whether some peer was faster."""
    return row["ratio"] is not None and row["ratio"] < 1


def summary(rows: Sequence[Row]) -> list[Row]:
    """One entry for each suite, direction and layout, in the order of the rows.

    Returns:
        Objects with `suite`, `direction`, `layout`, `rows`, `compared`, `mean` (the geometric mean
        of the ratios, or None), `worst` and `best` ratio, `losses` and `wrong` (rows that were
        wrong or failed).
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["suite"], row["direction"], row["layout"]), []).append(row)
    found = []
    for (suite, direction, layout), members in groups.items():
        ratios = [row["ratio"] for row in members if row["ratio"] is not None]
        found.append(
            {
                "suite": suite,
                "direction": direction,
                "layout": layout,
                "rows": len(members),
                "compared": len(ratios),
                "mean": geometric_mean(ratios) if ratios else None,
                "worst": min(ratios, default=None),
                "best": max(ratios, default=None),
                "losses": sum(map(lost, members)),
                "wrong": sum(row["status"] != "measured" for row in members),
            }
        )
    return found
