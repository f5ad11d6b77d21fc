"""The options of `convscape draw`, by the panel of its help that they stand in."""

from pathlib import Path
from typing import Annotated

import typer

WINDOW, CHANNELS, NUMBERS = "Window", "Channels", "Numbers"
LOOKS, KINDS, OUTPUT = "Looks", "Other kinds of figure", "Output"

Size = Annotated[
    str | None, typer.Argument(help="Input cells: 5 (a 5x5 input), 5x7, or 9x (one axis).")
]
Kernel = Annotated[
    str, typer.Option("--kernel", "-k", rich_help_panel=WINDOW, help="3, or 3x5 an axis.")
]
Stride = Annotated[
    str | None,
    typer.Option(
        "--stride",
        "-s",
        rich_help_panel=WINDOW,
        help="Default: the framework's (1; of pooling mostly the kernel).",
    ),
]
Padding = Annotated[
    str | None,
    typer.Option(
        "--padding",
        "-p",
        rich_help_panel=WINDOW,
        help="1, or 0,1 (low,high), or 1x2 an axis, or a name (same, half, full, "
        "...). With --compare one for each dialect: same/1.",
    ),
]
Dilation = Annotated[
    str,
    typer.Option("--dilation", "-d", rich_help_panel=WINDOW, help="Distance between kernel cells."),
]
Pool = Annotated[
    str | None, typer.Option(metavar="max|avg", rich_help_panel=WINDOW, help="A pooling.")
]
Transposed = Annotated[
    str | None,
    typer.Option(
        metavar="spread|scatter",
        rich_help_panel=WINDOW,
        help="A transposed convolution: as windows over the spread input, or as scattering.",
    ),
]
OutputPadding = Annotated[
    str | None,
    typer.Option(
        "--output-padding",
        "-a",
        rich_help_panel=WINDOW,
        help="Extra cells of a transposed convolution.",
    ),
]
CeilMode = Annotated[
    bool, typer.Option("--ceil-mode", rich_help_panel=WINDOW, help="Round pooling's size up.")
]
Dialect = Annotated[
    str,
    typer.Option(
        metavar="keras|torch|onnx|jax",
        rich_help_panel=WINDOW,
        help="Spell and round as this framework does.",
        show_default=False,
    ),
]
InChannels = Annotated[
    int | None,
    typer.Option(
        "--in-channels",
        "-c",
        min=1,
        rich_help_panel=CHANNELS,
        help="Channels in; default: as many as groups.",
    ),
]
OutChannels = Annotated[
    int | None,
    typer.Option(
        "--out-channels",
        min=1,
        rich_help_panel=CHANNELS,
        help="Channels out; default: as many as groups.",
    ),
]
Groups = Annotated[
    int, typer.Option("--groups", "-g", min=1, rich_help_panel=CHANNELS, help="Channel groups.")
]
Values = Annotated[
    str,
    typer.Option(
        metavar="deck|random|NUMBERS",
        rich_help_panel=NUMBERS,
        help='The input: "1,2;3,4" is two rows; | separates channels.',
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        metavar="deck|random|NUMBERS", rich_help_panel=NUMBERS, help="The kernel, likewise."
    ),
]
Seed = Annotated[int, typer.Option(rich_help_panel=NUMBERS, help="Of random numbers.")]
Style = Annotated[
    str,
    typer.Option(
        metavar="numbers|colours|plain",
        rich_help_panel=LOOKS,
        help="Colours: each weight paints the cells it meets.",
    ),
]
Theme = Annotated[
    str,
    typer.Option(
        metavar="light|dark|auto",
        rich_help_panel=LOOKS,
        help="Auto follows the reader's system in SVG, and is light elsewhere.",
    ),
]
Title = Annotated[str | None, typer.Option(rich_help_panel=LOOKS, help='Heading; "" for none.')]
Step = Annotated[
    int | None,
    typer.Option(rich_help_panel=LOOKS, help="Which window (or step) a still shows, from 0."),
]
Sheet = Annotated[
    bool, typer.Option("--sheet", rich_help_panel=LOOKS, help="Up to 12 windows on one page.")
]
Seconds = Annotated[float, typer.Option(rich_help_panel=LOOKS, help="How long a frame stays.")]
Field = Annotated[
    str | None,
    typer.Option(
        metavar="LAYERS",
        rich_help_panel=KINDS,
        help='Receptive field through a stack: "k3s2p1,k3d2psame,tk2s2".',
    ),
]
Compare = Annotated[
    str | None,
    typer.Option(
        metavar="DIALECTS",
        rich_help_panel=KINDS,
        help="The layer in two to four dialects: keras,pytorch.",
    ),
]
Network = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        rich_help_panel=KINDS,
        help="Map size and field of each layer of a model (as in trace; "
        "an import path runs its code).",
    ),
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="SHAPE",
        rich_help_panel=KINDS,
        help="Shape of the model's input, e.g. 3x224x224.",
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="KEY=VALUE",
        rich_help_panel=KINDS,
        help="A keyword argument for the model's factory.",
    ),
]
BatchNorm = Annotated[
    bool,
    typer.Option(
        "--batch-norm",
        rich_help_panel=KINDS,
        help="Batch normalization of --values (rows are samples).",
    ),
]
Gamma = Annotated[str | None, typer.Option(rich_help_panel=KINDS, help="Its scales: 2,1,0.5.")]
Beta = Annotated[str | None, typer.Option(rich_help_panel=KINDS, help="Its shifts: 0,1,-1.")]
Epsilon = Annotated[str, typer.Option(rich_help_panel=KINDS, help="Added to its variance.")]
Catalogue = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        rich_help_panel=KINDS,
        help="Every figure of the slides and of the guide, with a gallery page.",
    ),
]
Formats = Annotated[
    str,
    typer.Option(
        metavar="svg,gif,png,pdf", rich_help_panel=KINDS, help="What the catalogue writes."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        rich_help_panel=OUTPUT,
        help="A still in .svg, .png or .pdf; .gif and .mp4 move.",
    ),
]
Animate = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=OUTPUT,
        help="An animation in .svg (plays by itself), .gif or .mp4.",
    ),
]
