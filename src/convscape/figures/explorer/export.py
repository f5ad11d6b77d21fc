"""Writes the explorer as one file to hand to a class."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.figures.explorer.page import single


def export(path: Path, network: Mapping[str, Any] | None = None, link: str = "") -> Path:
    """Write the page as one self-contained file, which works without a server or a network.

    Args:
        path: Where to; a name that ends in .html.
        network: What `network.describe` made of a model, or None.
        link: The settings to begin with, as in a link after #.

    Returns:
        The path.

    Raises:
        InputError: The name does not end in .html, or the file cannot be written.
    """
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError("the page is an HTML file", str(path), "write --export page.html")
    try:
        path.write_text(single(network, link), encoding="utf-8")
    except OSError as error:
        raise InputError(
            "the page must be writable", f"{path}: {error.strerror}", "choose another place"
        ) from None
    return path
