"""Figures and animations of what a window does: drawn from `arithmetic`, by no rule of its own.

`draw` makes a `Figure` of a window, geometry or layer; the other kinds are `field_figure`,
`compare_dialects`, `network_figure` and `batch_norm_figure`. A `Figure` writes itself as SVG (the
standard library alone), PNG, PDF, GIF and MP4 (the extra `figures`), and shows itself in
notebooks; after `enable_notebook()` windows, geometries and networks do so too.
"""

from convscape.figures.batch_norm import batch_norm_figure
from convscape.figures.dialects import compare_dialects
from convscape.figures.draw import draw
from convscape.figures.field import field_figure
from convscape.figures.figure import Figure
from convscape.figures.network import network_figure
from convscape.figures.notebook import enable_notebook

__all__ = [
    "Figure",
    "batch_norm_figure",
    "compare_dialects",
    "draw",
    "enable_notebook",
    "field_figure",
    "network_figure",
]
