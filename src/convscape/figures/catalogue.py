"""Every figure of the lesson's slides and of the guide, with their numbers: one table.

`write` regenerates all of them, and the page that shows them. The guide is V. Dumoulin and
F. Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285; numbers of
relationships and sections are its own. Pictures are drawn anew, from `arithmetic`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscape.arithmetic.builder import Builder
from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.window import Window
from convscape.figures.batch_norm import batch_norm_figure
from convscape.figures.chain import parse_chain
from convscape.figures.dialects import compare_dialects
from convscape.figures.draw import draw
from convscape.figures.field import field_figure
from convscape.figures.figure import Figure, write_whole
from convscape.figures.network import network_figure

FORMATS = ("svg", "gif", "png", "pdf")


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure of the catalogue.

    Args:
        name: Of its files.
        section: Heading it stands under on the page.
        caption: What it shows.
        make: Draws it.
        plays: Whether a self-playing SVG is written too.
        gif: Whether a GIF is written too.
    """

    name: str
    section: str
    caption: str
    make: Callable[[], Figure]
    plays: bool = False
    gif: bool = False


def layer(op: str, kernel: int, stride: int = 1, padding: Any = 0, **more: Any) -> Layer:
    """A layer of two axes (or `rank`) in this package's own spelling."""
    return Layer.of("convscape", op, kernel, stride, padding, rank=more.pop("rank", 2), **more)


def conv(i: int, k: int, s: int = 1, p: int = 0, d: int = 1, **looks: Any) -> Figure:
    """A convolution with the guide's letters."""
    return draw(layer("conv", k, s, p, dilation=d), i, **looks)


def transpose(i: int, k: int, s: int = 1, p: int = 0, a: int = 0, **looks: Any) -> Figure:
    """A transposed convolution of i cells; k, s and p are of the convolution that it transposes."""
    return draw(layer("transposed", k, s, p, output_padding=a), i, **looks)


def pool(op: str, **looks: Any) -> Figure:
    """The pooling of the slides: i = 5, k = 3, s = 1."""
    return draw(layer(op, 3), 5, **looks)


def compared(op: str, size: int, torch: dict[str, Any], **looks: Any) -> Figure:
    """Keras `same` beside PyTorch's padding=1, at stride 2, on one axis."""
    keras = Layer.of("keras", op, 3, 2, "same", rank=1)
    return compare_dialects([keras, Layer.of("torch", op, 3, 2, 1, rank=1, **torch)], (size,),
                            **looks)  # fmt: skip


def small_network() -> Figure:
    """The chart of a small residual-free network on a 96x96 image."""
    b = Builder("A small network on 96×96 cells")
    x = b.input("image", (1, 3, 96, 96))
    settings = (("stem", 7, 2, 3, 16), *((f"block {i}", 3, 1, 1, 16) for i in (1, 2)),
                ("down 1", 3, 2, 1, 32), ("block 3", 3, 1, 1, 32), ("down 2", 3, 2, 1, 64),
                ("block 4", 3, 1, 1, 64), ("down 3", 3, 2, 1, 64), ("block 5", 3, 1, 1, 64),
                ("block 6", 3, 1, 1, 64))  # fmt: skip
    for name, k, s, p, channels in settings:
        windows = (Window(k, s, padding=(p, p)),) * 2
        x = b.conv(name, x, windows, axes=(2, 3), channel_axis=1, out_channels=channels)
    return network_figure(b.network([x]))


SLIDES = "The slides"
GUIDE = "The guide: convolution"
POOLS = "The guide: pooling"
TRANSPOSED = "The guide: transposed convolution"
DILATED = "The guide: dilation"
MORE = "Borders, dialects, fields and batch normalization"

PAGE: dict[str, Any] = {"style": "plain", "sheet": True}
"""How the guide prints: all windows on one page, no numbers."""

CATALOGUE = (
    Entry("deck-convolution", SLIDES,
          "i = 5, k = 3, s = 1, p = 0: the kernel's numbers stand on the cells they meet.",
          lambda: conv(5, 3), plays=True, gif=True),
    Entry("deck-convolution-strided", SLIDES,
          "i = 5, k = 3, s = 2, p = 1: the padding is drawn as zeros.",
          lambda: conv(5, 3, 2, 1), plays=True, gif=True),
    Entry("deck-average-pooling", SLIDES, "Average pooling, k = 3, s = 1, to one decimal.",
          lambda: pool("avg_pool"), plays=True, gif=True),
    Entry("deck-max-pooling", SLIDES, "Max pooling, k = 3, s = 1.",
          lambda: pool("max_pool"), plays=True, gif=True),
    Entry("deck-dilation", SLIDES,
          "What dilation does: three layers of k = 3, d = 2 widen the field and keep the size.",
          lambda: field_figure(parse_chain("k3d2psame,k3d2psame,k3d2psame", 15), 15,
                               title="Dilation: field 13, 15 cells"), plays=True),
    Entry("deck-stride", SLIDES,
          "What stride does: three layers of k = 3, s = 2 widen the field and lose the size.",
          lambda: field_figure(parse_chain("k3s2p1,k3s2p1,k3s2p1", 15), 15,
                               title="Stride: field 15, 2 cells"), plays=True),
    Entry("deck-batch-normalization", SLIDES,
          "Batch normalization of four samples: mean, variance, normalize, scale and shift.",
          batch_norm_figure, plays=True, gif=True),
    Entry("guide-convolution", GUIDE, "Figure 1.1: a convolution, window by window.",
          lambda: conv(5, 3, sheet=True)),
    Entry("guide-convolution-strided", GUIDE, "Figure 1.2: with i = 5, k = 3, s = 2, p = 1.",
          lambda: conv(5, 3, 2, 1, sheet=True)),
    Entry("guide-channels", GUIDE, "Figure 1.3: three output maps from two input maps.",
          lambda: draw(layer("conv", 3, in_channels=2, out_channels=3), 5), plays=True),
    Entry("relationship-01", GUIDE, "Relationship 1, no padding, unit strides: i = 4, k = 3.",
          lambda: conv(4, 3, **PAGE), plays=True),
    Entry("relationship-02", GUIDE, "Relationship 2, arbitrary padding: i = 5, k = 4, p = 2.",
          lambda: conv(5, 4, 1, 2, **PAGE), plays=True),
    Entry("relationship-03", GUIDE, "Relationship 3, half padding: i = 5, k = 3, p = 1.",
          lambda: conv(5, 3, 1, 1, **PAGE), plays=True),
    Entry("relationship-04", GUIDE, "Relationship 4, full padding: i = 5, k = 3, p = 2.",
          lambda: conv(5, 3, 1, 2, **PAGE), plays=True),
    Entry("relationship-05", GUIDE, "Relationship 5, no padding, strides: i = 5, k = 3, s = 2.",
          lambda: conv(5, 3, 2, **PAGE), plays=True),
    Entry("relationship-06", GUIDE,
          "Relationship 6, padding and strides: i = 5, k = 3, s = 2, p = 1.",
          lambda: conv(5, 3, 2, 1, **PAGE), plays=True),
    Entry("relationship-06-odd", GUIDE,
          "Relationship 6, the same output from i = 6: the last row and column of padding are "
          "never read.",
          lambda: conv(6, 3, 2, 1, **PAGE), plays=True),
    Entry("relationship-07-average", POOLS,
          "Relationship 7 (figure 1.5), average pooling: i = 5, k = 3, s = 1.",
          lambda: pool("avg_pool", sheet=True)),
    Entry("relationship-07-max", POOLS,
          "Relationship 7 (figure 1.6), max pooling: i = 5, k = 3, s = 1.",
          lambda: pool("max_pool", sheet=True)),
    Entry("relationship-08", TRANSPOSED,
          "Relationship 8, the transpose of i = 4, k = 3: from 2 to 4 cells.",
          lambda: transpose(2, 3, **PAGE), plays=True),
    Entry("relationship-09", TRANSPOSED,
          "Relationship 9, the transpose of i = 5, k = 4, p = 2: from 6 to 5 cells.",
          lambda: transpose(6, 4, 1, 2, **PAGE), plays=True),
    Entry("relationship-10", TRANSPOSED,
          "Relationship 10, the transpose of half padding, i = 5, k = 3, p = 1.",
          lambda: transpose(5, 3, 1, 1, **PAGE), plays=True),
    Entry("relationship-11", TRANSPOSED,
          "Relationship 11, the transpose of full padding, i = 5, k = 3, p = 2: from 7 to 5 cells.",
          lambda: transpose(7, 3, 1, 2, **PAGE), plays=True),
    Entry("relationship-12", TRANSPOSED,
          "Relationship 12, the transpose of i = 5, k = 3, s = 2: from 2 to 5 cells.",
          lambda: transpose(2, 3, 2, **PAGE), plays=True),
    Entry("relationship-13", TRANSPOSED,
          "Relationship 13, the transpose of i = 5, k = 3, s = 2, p = 1: from 3 to 5 cells.",
          lambda: transpose(3, 3, 2, 1, **PAGE), plays=True),
    Entry("relationship-14", TRANSPOSED,
          "Relationship 14, the transpose of i = 6, k = 3, s = 2, p = 1: a = 1 restores 6 cells.",
          lambda: transpose(3, 3, 2, 1, 1, **PAGE), plays=True),
    Entry("transposed-numbers", TRANSPOSED,
          "Relationship 13 with numbers: the turned kernel slides over the spread input.",
          lambda: transpose(3, 3, 2, 1), plays=True),
    Entry("transposed-scatter", TRANSPOSED,
          "The same numbers as scattering: each cell adds its multiple of the kernel.",
          lambda: transpose(3, 3, 2, 1, transposed="scatter"), plays=True, gif=True),
    Entry("relationship-15", DILATED, "Relationship 15, dilation: i = 7, k = 3, d = 2.",
          lambda: conv(7, 3, 1, 0, 2, **PAGE), plays=True),
    Entry("dilation-numbers", DILATED, "Relationship 15 with numbers.",
          lambda: conv(7, 3, 1, 0, 2), plays=True),
    Entry("unread-cells", MORE,
          "i = 6, k = 3, s = 2: the floor leaves a row and a column that no window reads.",
          lambda: conv(6, 3, 2)),
    Entry("colours", MORE, "Each weight paints the cells that it meets.",
          lambda: conv(5, 3, 1, 1, style="colours"), plays=True),
    Entry("one-axis", MORE, "A causal convolution on one axis, d = 2.",
          lambda: draw(layer("conv", 3, 1, "causal", dilation=2, rank=1), (8,)), plays=True),
    Entry("groups", MORE, "Two groups: each output map reads its own input maps.",
          lambda: draw(layer("conv", 2, in_channels=4, out_channels=2, groups=2), (3, 4))),
    Entry("same-in-two-dialects", MORE,
          "k = 3, s = 2 on 6 cells: Keras `same` and PyTorch padding=1 have one size and other "
          "numbers.",
          lambda: compared("conv", 6, {})),
    Entry("transposed-in-two-dialects", MORE,
          "Transposed, from 3 to 6 cells, x = w = 1, 2, 3: the crops lie at different ends.",
          lambda: compared("transposed", 3, {"output_padding": 1}, values="1,2,3",
                           weights="1,2,3")),
    Entry("receptive-field", MORE,
          "The receptive field of one cell through a convolution, a stride and a dilation.",
          lambda: field_figure(parse_chain("k3,k3s2p1,k3d2psame", 15), 15), plays=True),
    Entry("network", MORE, "Map size and receptive field of every layer of a small network.",
          small_network),
)  # fmt: skip
"""The table of all figures, in the order of the page."""


def write(
    folder: Path, formats: Iterable[str] = ("svg", "gif"), entries: Iterable[Entry] = CATALOGUE
) -> tuple[int, int]:
    """Draw the catalogue into a folder, with README.md as its gallery.

    Everything is drawn before the first file is written.

    Args:
        folder: Made where it does not exist.
        formats: svg (stills and self-playing), gif (of the entries that ask for one), png, pdf.
        entries: The figures.

    Returns:
        Number of files, and their bytes together.

    Raises:
        InputError: An unknown format, a missing package, or a folder that cannot be written.
    """
    wanted = tuple(dict.fromkeys(f.strip().lower() for f in formats))
    unknown = [f for f in wanted if f not in FORMATS]
    if unknown or not wanted:
        raise InputError(
            "the catalogue is written in known formats",
            ", ".join(map(repr, unknown)) or "none",
            f"known: {', '.join(FORMATS)}",
        )
    entries = tuple(entries)
    files: dict[str, bytes] = {}
    for entry in entries:
        figure = entry.make()
        for name, animate in names(entry, wanted):
            files[name] = figure.encoded(name, animate=animate)
    files["README.md"] = gallery(entries, wanted).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            "the catalogue's folder must be writable",
            f"{folder}: {error.strerror}",
            "choose another place",
        ) from None
    for name, data in files.items():
        write_whole(folder / name, data)
    return len(files), sum(map(len, files.values()))


def names(entry: Entry, formats: Iterable[str]) -> list[tuple[str, bool]]:
    """The files of an entry, and whether each of them moves."""
    out: list[tuple[str, bool]] = []
    for ending in formats:
        if ending == "gif":
            out += [(f"{entry.name}.gif", True)] * entry.gif
        else:
            out.append((f"{entry.name}.{ending}", False))
        if ending == "svg" and entry.plays:
            out.append((f"{entry.name}-playing.svg", True))
    return out


def gallery(entries: Iterable[Entry], formats: Iterable[str]) -> str:
    """The page that shows the catalogue."""
    lines = [
        "# Figures",
        "",
        "Drawn by `convscape draw --catalogue docs/figures` from the table in"
        " `src/convscape/figures/catalogue.py`; do not edit these files. The guide is V. Dumoulin"
        " and F. Visin, arXiv 1603.07285.",
    ]
    section = ""
    for entry in entries:
        if entry.section != section:
            section = entry.section
            lines += ["", f"## {section}"]
        files = [name for name, _ in names(entry, formats)]
        shown = next((n for n in files if n.endswith("-playing.svg")), files[0] if files else "")
        others = ", ".join(f"[{_word(name)}]({name})" for name in files if name != shown)
        lines += ["", f"### {entry.name}", "", f"![{entry.caption}]({shown})", "", entry.caption]
        lines += [f"Also as {others}."] if others else []
    return "\n".join(lines) + "\n"


def _word(name: str) -> str:
    return "still" if name.endswith(".svg") else name.rsplit(".", 1)[1].upper()
