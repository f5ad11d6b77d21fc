"""The commands of the arithmetic, which answer at once: they start without loading Typer.

Loading Typer and its validators takes longer than these commands take altogether. `main` calls
them directly; the table of commands lists them too, so that `convscape --help` shows them.
"""

from collections.abc import Sequence
from importlib import import_module

QUICK = {
    "size": "Output size of one layer, the relationship that gives it, and the border.",
    "solve": "Every window that takes one size to another, for a layer or a chain of layers.",
    "translate": "The same layer for another framework, with code to paste.",
    "explore": "An interactive page about one layer, or about the layers of a network.",
}
"""Command names and their line in the list of commands."""


def run(command: str, arguments: Sequence[str]) -> None:
    """Run one of them: `convscape.cli.<command>` has a function of the same name."""
    getattr(import_module(f"convscape.cli.{command}"), command)(arguments)
