"""Windows, geometries and networks that show themselves in a notebook, once asked to.

`arithmetic` knows nothing of figures, so its objects get their picture from this side: IPython's
formatters take a function for a type.
"""

import sys
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.arithmetic.geometry import Geometry
from convscape.arithmetic.network import Network
from convscape.arithmetic.window import Window
from convscape.figures.draw import draw
from convscape.figures.network import network_figure


def enable_notebook(shell: Any = None) -> None:
    """Let `Window`, `Geometry` and `Network` display as figures in this notebook.

    A window or geometry is drawn on the smallest input with three windows an axis. What is too
    large to draw keeps its text.

    Args:
        shell: The IPython shell; None is the running one.

    Raises:
        InputError: There is no running IPython shell.

    Example:
        In a notebook: `import convscape.figures; convscape.figures.enable_notebook()`.
    """
    if shell is None:
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        raise InputError(
            "objects display themselves in a notebook", "no running IPython", "use draw(...).save"
        )
    formatter = shell.display_formatter.formatters["image/svg+xml"]
    formatter.for_type(Window, window_svg)
    formatter.for_type(Geometry, window_svg)
    formatter.for_type(Network, network_svg)


def window_svg(what: Window | Geometry) -> str | None:
    """The picture of a window or geometry; None where it is too large to draw."""
    try:
        return draw(what, animate=False).svg()
    except InputError:
        return None


def network_svg(network: Network) -> str | None:
    """The chart of a network; None where it has nothing to chart."""
    try:
        return network_figure(network).svg()
    except InputError:
        return None
