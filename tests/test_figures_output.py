"""Formats: SVG that is well formed, readable in both themes, and plays what the frames show."""

import io
import re
import stat
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from convscape.arithmetic import Geometry, InputError, Window
from convscape.figures import (
    Figure,
    batch_norm_figure,
    draw,
    enable_notebook,
    field_figure,
)
from convscape.figures.figure import ENDINGS, write_whole
from convscape.figures.scene import Rect, Scene, Text
from convscape.figures.theme import DARK, LIGHT, MARKS_ON, TEXT_ON, contrast

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def figure() -> Figure:
    return draw(Window(3, stride=2, padding=(1, 1)), 5)


@pytest.mark.parametrize("theme", ["light", "dark", "auto"])
def test_svg_is_well_formed_and_has_no_script_and_no_links(figure: Figure, theme: str) -> None:
    for text in (figure.themed(theme).svg(), figure.themed(theme).playing_svg()):
        root = ET.fromstring(text)
        assert root.tag == f"{SVG}svg"
        assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {
            "svg", "title", "desc", "style", "rect", "path", "text", "polyline", "polygon", "g",
        }  # fmt: skip
        assert not re.search(r"\bon\w+=|href|url\(", text)
        assert ("prefers-color-scheme:dark" in text) == (theme == "auto")


def test_svg_is_small(figure: Figure) -> None:
    assert len(figure.svg()) < 20_000
    assert len(figure.playing_svg()) < 45_000


EVIL = "<script>alert(1)</script> & \"quotes\" 'too' ]]> \x00\x1b"


def test_text_cannot_become_markup() -> None:
    made = draw(Window(3), 5, title=EVIL)
    for text in (made.svg(), made.playing_svg()):
        root = ET.fromstring(text)
        assert not root.findall(f".//{SVG}script")
        shown = [t.text for t in root.iter(f"{SVG}text")]
        kept = EVIL.replace("\x00", "�").replace("\x1b", "�")
        assert kept in shown
        assert root.findtext(f"{SVG}title") == kept


@pytest.mark.parametrize(("ink", "fill"), TEXT_ON)
@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_keeps_its_contrast(colours: dict[str, str], ink: str, fill: str) -> None:
    assert contrast(colours[ink], colours[fill]) >= 4.5


@pytest.mark.parametrize(("ink", "fill"), MARKS_ON)
@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_keep_their_contrast(colours: dict[str, str], ink: str, fill: str) -> None:
    assert contrast(colours[ink], colours[fill]) >= (2.5 if ink == "line" else 3)


def pairs_drawn(scene: Scene) -> set[tuple[str, str]]:
    """(role of text, role of the topmost fill below its middle) in a scene."""
    found = set()
    painted = scene.painted()
    for at, text in enumerate(painted):
        if not isinstance(text, Text):
            continue
        x = text.x + {"start": 3, "middle": 0, "end": -3}[text.anchor]
        below = [
            r for r in painted[:at] if isinstance(r, Rect) and r.fill
            and r.x <= x <= r.x + r.w and r.y <= text.y <= r.y + r.h
        ]  # fmt: skip
        found.add((text.role, below[-1].fill or "bg" if below else "bg"))
    return found


@pytest.mark.parametrize("style", ["numbers", "colours"])
@pytest.mark.parametrize("operation", ["conv", "max_pool", "transposed"])
def test_no_text_is_drawn_on_a_fill_that_was_not_checked(style: str, operation: str) -> None:
    for transposed in ("spread", "scatter"):
        window = (
            Window(3, 1, 1, 2, (1, 1)) if operation == "transposed" else Window(2, 3, 1, 1, (1, 1))
        )
        made = draw(window, 4, operation=operation, style=style, transposed=transposed)
        for scene in (made.scene, *made.frames):
            assert pairs_drawn(scene) <= set(TEXT_ON)


def visible(root: ET.Element, turn: int, turns: int) -> Iterator[ET.Element]:
    """What a self-playing SVG shows in one turn, by its own keyframes, in the order painted."""
    rules = {}
    style = root.findtext(f"{SVG}style") or ""
    for name, marks in re.findall(r"@keyframes ([\w-]+)\{((?:[\d.]+%\{[^}]*\})+)\}", style):
        rules[name] = [(float(p), v == "visible") for p, v in
                       re.findall(r"([\d.]+)%\{visibility:(\w+)\}", marks)]  # fmt: skip
    now = 100 * (turn + 0.5) / turns
    for child in root:
        group = child.get("class", "") if child.tag == f"{SVG}g" else ""
        if not group or [v for p, v in rules[group] if p <= now][-1]:
            yield from child.iter()


def test_a_playing_svg_shows_each_frame_in_its_turn(figure: Figure) -> None:
    text = figure.playing_svg()
    root, turns = ET.fromstring(text), len(figure.frames) + 1  # the last frame stays twice as long
    for turn in range(turns):
        scene = figure.frames[min(turn, len(figure.frames) - 1)]
        texts = [e.text for e in visible(root, turn, turns) if e.tag == f"{SVG}text"]
        assert sorted(t or "" for t in texts) == sorted(
            s.text for s in scene.shapes if isinstance(s, Text)
        )


Box = tuple[float, float, float, float]


def boxes(element: ET.Element) -> list[Box]:
    """Left, top, right and bottom of what a rect, or a path of rects, paints."""
    if element.tag == f"{SVG}rect":
        x, y, w, h = (float(element.get(a, "0")) for a in ("x", "y", "width", "height"))
        return [(x, y, x + w, y + h)]
    found = re.findall(r"M([-\d.]+) ([-\d.]+)h([-\d.]+)v([-\d.]+)h", element.get("d", ""))
    return [(float(x), float(y), float(x) + float(w), float(y) + float(h)) for x, y, w, h in found]


def topmost(fills: list[tuple[Box, str]], x: float, y: float) -> str:
    return [fill for (x0, y0, x1, y1), fill in fills if x0 <= x <= x1 and y0 <= y <= y1][-1]


@pytest.mark.parametrize(
    "made",
    [
        draw(Window(3, stride=2, padding=(1, 1)), 5),
        draw(Window(3, 1, 1, 2, (1, 1)), 3, transposed="scatter", style="colours"),
        field_figure([Window(3), Window(3, stride=2)], 11),
        batch_norm_figure(),
    ],
    ids=["windows", "scatter", "field", "batch norm"],
)
def test_a_playing_svg_paints_what_its_frames_paint(made: Figure) -> None:
    """Merging the frames must not change what lies on top."""
    text = made.playing_svg()
    root, turns = ET.fromstring(text), len(made.frames) + 1
    for turn in (0, 1, turns - 2):
        shown: list[tuple[Box, str]] = []
        for element in visible(root, turn, turns):
            fill = re.search(r"f-(\w+)", element.get("class", ""))
            if fill and element.tag in (f"{SVG}rect", f"{SVG}path"):
                shown += [(box, fill[1]) for box in boxes(element)]
        exact = [
            ((s.x, s.y, s.x + s.w, s.y + s.h), s.fill)
            for s in made.frames[turn].painted() if isinstance(s, Rect) and s.fill
        ]  # fmt: skip
        for (x0, y0, x1, y1), _ in exact:
            at = (x0 + x1) / 2, (y0 + y1) / 2
            assert topmost(shown, *at) == topmost(exact, *at)


def test_without_motion_a_playing_svg_shows_its_last_frame(figure: Figure) -> None:
    text = figure.playing_svg()
    assert "prefers-reduced-motion:reduce" in text
    style = ET.fromstring(text).findtext(f"{SVG}style") or ""
    root = ET.fromstring(text)
    hidden = set(re.findall(r"\.([\w-]+)\{visibility:hidden;", style))
    shown = [
        t.text or "" for child in root if child.get("class") not in hidden
        for t in child.iter(f"{SVG}text")
    ]  # fmt: skip
    assert sorted(shown) == sorted(s.text for s in figure.frames[-1].shapes if isinstance(s, Text))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_png_has_the_scene_s_size_and_the_theme_s_colours(figure: Figure, theme: str) -> None:
    picture = Image.open(io.BytesIO(figure.themed(theme).png(scale=1)))
    assert picture.size == (round(figure.scene.width), round(figure.scene.height))
    colours = {"light": LIGHT, "dark": DARK}[theme]
    found = {f"#{r:02X}{g:02X}{b:02X}" for _, (r, g, b) in picture.getcolors(1 << 20) or []}  # type: ignore[misc]
    assert {colours[role] for role in ("bg", "cell", "window", "out", "now")} <= found


def test_pdf_is_one_page_of_text(figure: Figure) -> None:
    data = figure.pdf()
    assert data.startswith(b"%PDF-")
    assert data.count(b"/Type /Page\n") + data.count(b"/Type /Page ") == 1
    assert b"DejaVuSans" in data
    assert figure.pdf() == data  # no dates


def test_gif_has_every_frame_for_its_time(figure: Figure) -> None:
    picture = Image.open(io.BytesIO(figure.gif()))
    assert picture.n_frames == len(figure.frames) == 9  # type: ignore[attr-defined]
    stays = []
    for index in range(9):
        picture.seek(index)
        stays.append(picture.info["duration"])
    assert stays == [1000] * 8 + [2000]
    assert picture.info["loop"] == 0


def test_gif_frames_are_the_frames(figure: Figure) -> None:
    from convscape.figures.raster import image

    picture = Image.open(io.BytesIO(figure.gif()))
    for index in (0, 4, 8):
        picture.seek(index)
        exact = image(figure.frames[index], "light", 1).convert("L")
        pairs = zip(picture.convert("L").tobytes(), exact.tobytes(), strict=True)
        off = sum(abs(a - b) > 24 for a, b in pairs)
        assert off < 0.005 * exact.width * exact.height


def test_mp4_is_made_by_ffmpeg_from_every_frame(
    figure: Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in notes how it was called and how many bytes of pixels came."""
    program = tmp_path / "ffmpeg"
    program.write_text(
        "#!/bin/sh\nfor last; do :; done\n"
        f'echo "$@" > {tmp_path}/called\nwc -c > {tmp_path}/bytes\necho film > "$last"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert figure.mp4(scale=1) == b"film\n"
    size = round(figure.scene.width), round(figure.scene.height)
    assert f"-s {size[0]}x{size[1]}" in (tmp_path / "called").read_text()
    count = int((tmp_path / "bytes").read_text())
    assert count == 3 * size[0] * size[1] * (len(figure.frames) + 1)


def test_without_ffmpeg_the_way_out_is_said(
    figure: Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"install it .* or write \.gif"):
        figure.save(tmp_path / "film.mp4")
    assert not list(tmp_path.glob("*.mp4"))


@pytest.mark.parametrize("ending", [e for e in ENDINGS if e != ".mp4"])
def test_save_writes_what_the_ending_names(figure: Figure, tmp_path: Path, ending: str) -> None:
    path = figure.save(tmp_path / f"figure{ending}")
    start = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF", ".gif": b"GIF89a"}[ending]
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failing_write_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="make the folder first"):
        write_whole(tmp_path / "none" / "a.svg", b"x")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(InputError, match="must be a file"):
        write_whole(tmp_path / "folder.svg", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.svg"]


class Formatter:
    def __init__(self) -> None:
        self.known: dict[type, object] = {}

    def for_type(self, kind: type, function: object) -> None:
        self.known[kind] = function


class Shell:
    def __init__(self) -> None:
        self.display_formatter = self
        self.formatters = {"image/svg+xml": Formatter()}


def test_windows_and_geometries_show_themselves_in_a_notebook() -> None:
    shell = Shell()
    enable_notebook(shell)
    known = shell.formatters["image/svg+xml"].known
    assert str(known[Window](Window(3, 2))).startswith("<svg")  # type: ignore[operator]
    assert str(known[Geometry](Geometry((Window(3),)))).startswith("<svg")  # type: ignore[operator]
    assert known[Window](Window(100)) is None  # type: ignore[operator]
    with pytest.raises(InputError, match="no running IPython"):
        enable_notebook()


def test_a_figure_shows_itself_in_a_notebook(figure: Figure) -> None:
    assert figure._repr_svg_() == figure.svg()
    ET.fromstring(figure._repr_html_())
    assert "<svg" in figure._repr_html_()
