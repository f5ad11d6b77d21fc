"""Figures and animations of what a window does: drawn from `arithmetic`, never from rules of its own.

`draw` makes a `Figure` of a window, geometry or layer; the other kinds are `field_figure`,
`compare_dialects`, `network_figure` and `batch_norm_figure`. A `Figure` writes itself as SVG (the
standard library alone), PNG, PDF, GIF and MP4 (the extra `figures`), and shows itself in notebooks;
after `enable_notebook()` windows and geometries do so too.
"""

from convscape.figures.draw import draw
from convscape.figures.figure import Figure

__all__ = ["Figure", "draw"]
