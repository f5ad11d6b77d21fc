"""The verdicts on the screen."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_MARKS = {True: "[green]seen[/]", False: "[yellow]not seen[/]", None: "cannot tell"}


def show(results: dict[str, Any], folder: Path) -> None:
    """Print the claims with what was measured, and where the report lies."""
    console = Console()
    table = Table(title=f"Batch normalization on {results['data']['title']}", show_lines=True)
    for column in ("Claim", "Measured", "Verdict"):
        table.add_column(column)
    for claim in results["summary"]["claims"]:
        table.add_row(claim["title"], claim["measured"], _MARKS[claim["shown"]])
    console.print(table)
    for name in ("report.html", "results.json"):
        console.print(str(folder / name), soft_wrap=True, highlight=False)
