"""The explorer's page: as it is served, and as one file to hand to a class."""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from convscape.figures.explorer.bundle import module, text

POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {styles}; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""What the page may load: nothing but its own script and style, and pictures it makes itself."""


def served(network: Mapping[str, Any] | None = None) -> str:
    """The page with its style and script beside it, as `serve` gives it.

    Args:
        network: What `network.describe` made of a model, or None.

    Example:
        >>> '<script type="module" src="page.js"></script>' in served()
        True
    """
    head = '<link rel="stylesheet" href="explorer.css">\n'
    head += '<script type="module" src="page.js"></script>'
    return _filled(head, island(network))


def single(network: Mapping[str, Any] | None = None, link: str = "") -> str:
    """The page as one file that needs nothing else, and works from a folder.

    Args:
        network: What `network.describe` made of a model, or None.
        link: The settings to begin with when the address has none, as in a link after #.

    Returns:
        HTML. Its policy allows its own script and style by their hashes, and nothing else.

    Example:
        >>> page = single()
        >>> "http" in page.split("<main")[0].replace("http-equiv", "")
        False
    """
    style = text("explorer.css")
    script = module()
    if link:
        script += f"if (!location.hash) history.replaceState(null, '', {json.dumps('#' + link)});\n"
    script = (script + "begin();\n").replace("</", "<\\/")
    policy = POLICY.format(scripts=_hash(script), styles=_hash(style))
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{style}</style>'
    return _filled(head, f'{island(network)}<script type="module">{script}</script>')


def island(network: Mapping[str, Any] | None) -> str:
    """A network as a JSON island, written so that nothing in it can end the element.

    Example:
        >>> "</script><b>" in island({"model": "</script><b>"})
        False
    """
    if network is None:
        return ""
    data = json.dumps(network).replace("<", "\\u003c")
    return f'<script type="application/json" data-convscape-network>{data}</script>\n'


def _filled(head: str, body: str) -> str:
    page = text("index.html")
    return page.replace("<!-- head -->", head).replace("<!-- body -->", body)


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
