"""The explorer as a notebook widget, which can be read back from Python. Extra: `notebook`."""

from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import traitlets

from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.padding import Padding
from convscape.figures.explorer.bundle import module, text
from convscape.figures.explorer.settings import Settings, layer_of, settings_of


class Explorer(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]
    """The explorer in a notebook's cell; what is done there is in its traits.

    Attributes:
        settings: What it is set to: operation, rank, input, kernel, stride, dilation, padding,
            output_padding, ceil_mode, count_include_pad, in_channels, out_channels, groups.
            Assigning sets the page.
        numbers: The numbers it shows: `input` (C, H, W), `kernel` (K, C / groups, h, w) or None,
            and `output` (K, H, W), as nested lists; one axis has H = h = 1. Empty until it is
            shown.
        hover: What is pointed at: part (input, kernel or output), channel, cell, and the sentence
            about it; None when nothing is.

    Args:
        spatial: Input cells: 5 is 5 x 5, (9,) is one axis.
        kernel: Kernel cells, one number or one an axis.
        stride: Step; None is 1, of pooling the kernel.
        padding: A name, a number, or one an axis.
        dilation: Distance between kernel cells.
        operation: One of `OPERATIONS`.
        options: Further settings of `dialects.Layer.of`: in_channels, out_channels, groups,
            ceil_mode, output_padding, count_include_pad.

    Raises:
        InputError: The settings do not hold, or are too large to draw.

    Example:
        >>> Explorer(5, 3, stride=2, padding=1).settings["stride"]
        [2, 2]
    """

    settings = traitlets.Dict().tag(sync=True)
    numbers = traitlets.Dict().tag(sync=True)
    hover = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    _esm = module()
    _css = text("explorer.css")

    def __init__(
        self,
        spatial: int | Sequence[int] = 5,
        kernel: int | Sequence[int] = 3,
        stride: int | Sequence[int] | None = None,
        padding: Padding | Sequence[Padding] = 0,
        dilation: int | Sequence[int] = 1,
        operation: str = "conv",
        **options: Any,
    ) -> None:
        cells = (spatial, spatial) if isinstance(spatial, int) else tuple(spatial)
        layer = Layer.of(
            "convscape", operation, kernel, stride, padding, dilation, rank=len(cells), **options
        )
        super().__init__(settings=settings_of(layer, cells))

    @property
    def layer(self) -> Layer:
        """The layer that it is set to now."""
        return layer_of(self.settings)

    @traitlets.validate("settings")
    def _checked(self, proposal: Mapping[str, Any]) -> Settings:
        """Refuse settings that cannot be drawn before they reach the page."""
        given = dict(proposal["value"])
        if missing := sorted(_NAMES - given.keys()):
            raise InputError(
                "the explorer's settings have all their names",
                f"without {', '.join(missing)}",
                "start from a copy of settings and change what you want",
            )
        return settings_of(layer_of(given), given["input"])


_NAMES = {
    "operation", "rank", "input", "kernel", "stride", "dilation", "padding", "output_padding",
    "ceil_mode", "count_include_pad", "in_channels", "out_channels", "groups",
}  # fmt: skip
