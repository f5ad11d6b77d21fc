"""A scene as SVG: one still, or several that play by themselves. The standard library alone.

Text stays text, colours are classes, and the dark theme is a media query, so one file is readable
in both. A self-playing file has CSS keyframes and no script; readers who asked their system for
less motion see its last frame.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from re import compile as pattern
from xml.sax.saxutils import escape, quoteattr
from zlib import crc32

from convscape.figures.scene import BASELINE, Hatch, Line, Rect, Scene, Shape, Text, head, strokes
from convscape.figures.theme import DARK, LIGHT, palette, theme_named

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif"
_FORBIDDEN = pattern("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def still(scene: Scene, theme: str = "auto", title: str = "", description: str = "") -> str:
    """One scene as an SVG document.

    Args:
        scene: What to draw.
        theme: light, dark, or auto, which follows the reader's system.
        title: Name of the picture, for readers that cannot see it.
        description: What it shows.

    Returns:
        The document, without an XML declaration, so that it can stand in a page too.

    Example:
        >>> still(Scene(9, 9, (Rect(0, 0, 9, 9, "cell"),))).startswith("<svg xmlns=")
        True
    """
    body = "\n".join(_elements(scene.painted()))
    return _document(scene, [scene], theme, title, description, "", body)


def playing(
    scenes: Sequence[Scene],
    seconds: float,
    theme: str = "auto",
    title: str = "",
    description: str = "",
) -> str:
    """Several scenes as one SVG document that plays them in turn, for ever.

    What all frames share is written once; the rest is grouped by the frames it appears in.

    Args:
        scenes: The frames, all of one size.
        seconds: How long a frame stays; the last one stays twice as long.
        theme: light, dark or auto.
        title: Name of the picture.
        description: What it shows.
    """
    count, last = len(scenes), len(scenes) - 1
    seen: dict[Shape, list[int]] = {}
    for index, scene in enumerate(scenes):
        for shape in dict.fromkeys(scene.painted()):
            seen.setdefault(shape, []).append(index)
    turns = count + 1  # the last frame counts twice
    names: dict[tuple[int, ...], str] = {}
    # Keyframes are known by name to a whole page, so each document has names of its own.
    own = f"t{crc32(repr((title, scenes[-1].shapes)).encode()) & 0xFFFF:x}-"
    lines: list[str] = []
    ordered = sorted(seen, key=lambda s: (s.z, seen[s]))
    for (_, when), shapes in groupby(ordered, key=lambda s: (s.z, tuple(seen[s]))):
        if len(when) == count:
            lines += _elements(shapes)
        else:
            name = names.setdefault(when, f"{own}{len(names)}")
            lines += [f'<g class="{name}">', *_elements(shapes), "</g>"]
    total = f"{seconds * turns:g}s"
    rules = []
    moving = []
    for when, name in names.items():
        marks = _keyframes(when, turns, last)
        rules.append(f"@keyframes {name}{{{marks}}}")
        hidden = "" if last in when else "visibility:hidden;"
        rules.append(f".{name}{{{hidden}animation:{name} {total} step-end infinite}}")
        moving.append("." + name)
    if moving:
        rules.append(
            f"@media(prefers-reduced-motion:reduce){{{','.join(moving)}{{animation:none}}}}"
        )
    return _document(scenes[0], scenes, theme, title, description, "".join(rules), "\n".join(lines))


def _keyframes(when: Sequence[int], turns: int, last: int) -> str:
    """At which part of the play a group appears and disappears."""
    shown = {*when, *([last + 1] if last in when else [])}
    marks, before = [], None
    for turn in range(turns):
        now = turn in shown
        if now != before:
            state = "visible" if now else "hidden"
            marks.append(f"{100 * turn / turns:.4g}%{{visibility:{state}}}")
            before = now
    return "".join(marks)


def _document(
    page: Scene,
    scenes: Iterable[Scene],
    theme: str,
    title: str,
    description: str,
    rules: str,
    body: str,
) -> str:
    theme_named(theme)
    size = f'width="{page.width:g}" height="{page.height:g}"'
    scope = f"cs-{theme}"
    fills, inks = {"bg"}, set[str]()
    for shape in (shape for scene in scenes for shape in scene.shapes):
        if isinstance(shape, Rect):
            fills |= {shape.fill} if shape.fill else set()
            inks |= {shape.stroke} if shape.stroke else set()
        elif isinstance(shape, Text):
            fills.add(shape.role)
        else:
            inks.add(shape.role)
            if isinstance(shape, Line) and shape.arrow:
                fills.add(shape.role)
    style = _colours(scope, fills, inks, palette(theme))
    if theme == "auto":
        same = {role for role in LIGHT if LIGHT[role] == DARK[role]}
        dark = _colours(scope, fills - same, inks - same, DARK)
        style += f"@media(prefers-color-scheme:dark){{{dark}}}"
    spoken = f"<title>{_text(title)}</title>" if title else ""
    spoken += f"<desc>{_text(description)}</desc>" if description else ""
    label = f' role="img" aria-label={quoteattr(_clean(title))}' if title else ' role="img"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{scope}" {size} '
        f'viewBox="0 0 {page.width:g} {page.height:g}"{label} font-family="{FONT}" '
        f'text-anchor="middle">\n{spoken}<style>{style}{rules}</style>\n'
        f'<rect class="f-bg" width="{page.width:g}" height="{page.height:g}" rx="6"/>\n'
        f"{body}\n</svg>\n"
    )


def _colours(scope: str, fills: set[str], inks: set[str], table: Mapping[str, str]) -> str:
    return "".join(
        [f".{scope} .f-{role}{{fill:{table[role].lower()}}}" for role in sorted(fills)]
        + [f".{scope} .s-{role}{{stroke:{table[role].lower()}}}" for role in sorted(inks)]
    )


def _elements(shapes: Iterable[Shape]) -> Iterator[str]:
    """An element a shape; neighbours that look alike and stand for nothing share one path."""
    for look, alike in groupby(shapes, key=_look):
        if look is None:
            yield from map(_element, alike)
            continue
        boxes = [s for s in alike if isinstance(s, Rect)]
        if len(boxes) == 1:
            yield _rect(boxes[0])
            continue
        d = "".join(f"M{_n(r.x)} {_n(r.y)}h{_n(r.w)}v{_n(r.h)}h{_n(-r.w)}z" for r in boxes)
        yield f'<path {_painted(boxes[0])} d="{d}"/>'


def _look(shape: Shape) -> Rect | None:
    """What rectangles that may share a path have in common; None for anything else."""
    if isinstance(shape, Rect) and not shape.key:
        return replace(shape, x=0, y=0, w=0, h=0)
    return None


def _element(shape: Shape) -> str:
    match shape:
        case Rect():
            return _rect(shape)
        case Text():
            return _label(shape)
        case Hatch():
            d = "".join(f"M{_n(a)} {_n(b)}L{_n(c)} {_n(e)}" for (a, b), (c, e) in strokes(shape))
            return f'<path class="s-{shape.role}"{_key(shape.key)} d="{d}"/>'
        case Line():
            points = " ".join(f"{_n(x)},{_n(y)}" for x, y in shape.points)
            dash = ' stroke-dasharray="4 3"' if shape.dash else ""
            width = f' stroke-width="{_n(shape.width)}"' if shape.width != 1 else ""
            line = f'<polyline class="s-{shape.role}" fill="none"{width}{dash} points="{points}"/>'
            if shape.arrow:
                tip = " ".join(f"{_n(x)},{_n(y)}" for x, y in head(shape))
                line += f'<polygon class="f-{shape.role}" points="{tip}"/>'
            return line


def _rect(r: Rect) -> str:
    place = f'x="{_n(r.x)}" y="{_n(r.y)}" width="{_n(r.w)}" height="{_n(r.h)}"'
    return f"<rect {_painted(r)}{_key(r.key)} {place}/>"


def _painted(r: Rect) -> str:
    roles = [f"f-{r.fill}"] * bool(r.fill) + [f"s-{r.stroke}"] * bool(r.stroke)
    parts = f'class="{" ".join(roles)}"'
    if not r.fill:
        parts += ' fill="none"'
    if r.stroke and r.width != 1:
        parts += f' stroke-width="{_n(r.width)}"'
    if r.dash:
        parts += ' stroke-dasharray="3 2"'
    return parts


def _label(t: Text) -> str:
    anchor = f' text-anchor="{t.anchor}"' if t.anchor != "middle" else ""
    weight = ' font-weight="600"' if t.bold else ""
    return (
        f'<text class="f-{t.role}"{_key(t.key)} x="{_n(t.x)}" y="{_n(t.y + BASELINE * t.size)}" '
        f'font-size="{_n(t.size)}"{anchor}{weight}>{_text(t.text)}</text>'
    )


def _key(key: str) -> str:
    # Keys are words and numbers of this package: nothing in them comes from a reader.
    return f' data-k="{key}"' if key else ""


def _text(text: str) -> str:
    return escape(_clean(text))


def _clean(text: str) -> str:
    """The text without the characters that XML cannot hold at all."""
    return _FORBIDDEN.sub("�", text)


def _n(value: float) -> str:
    """A coordinate, to a hundredth, as short as it can be written."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))
