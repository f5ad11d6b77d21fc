"""`convscape draw`: figures and animations of what a window does."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from convscape.arithmetic.errors import InputError
from convscape.cli import draw_options as options
from convscape.cli import parsing

if TYPE_CHECKING:
    from convscape.arithmetic.dialects import Layer
    from convscape.figures import Figure


@dataclass(frozen=True, slots=True)
class Settings:
    """A layer as it is written on the command line."""

    cells: tuple[int, ...]
    kernel: str
    stride: str | None
    padding: str | None
    dilation: str
    output_padding: str | None
    operation: str
    ceil_mode: bool
    channels: tuple[int | None, int | None, int]

    def layer(self, dialect: str, padding: str | None) -> "Layer":
        """The layer in a dialect's spelling."""
        from convscape.arithmetic.dialects import Layer

        into, out, groups = self.channels
        extra = self.output_padding
        return Layer.of(
            dialect,
            self.operation,
            parsing.per_axis("kernel", self.kernel),
            None if self.stride is None else parsing.per_axis("stride", self.stride),
            parsing.padding(padding),
            parsing.per_axis("dilation", self.dilation),
            rank=len(self.cells),
            ceil_mode=self.ceil_mode,
            output_padding=None if extra is None else parsing.per_axis("output padding", extra),
            in_channels=into if into is not None else groups,
            out_channels=out if out is not None else groups,
            groups=groups,
        )


WINDOW = frozenset(
    [
        "size",
        "kernel",
        "stride",
        "padding",
        "dilation",
        "pool",
        "transposed",
        "output_padding",
        "ceil_mode",
        "in_channels",
        "out_channels",
        "groups",
        "values",
        "weights",
        "seed",
        "style",
    ]
)
STEPS = frozenset({"step", "seconds", "animate"})
APPLIES = {
    "": WINDOW | STEPS | {"dialect", "sheet"},
    "--field": STEPS | {"size"},
    "--compare": WINDOW,
    "--network": frozenset({"input_", "with_"}),
    "--batch-norm": STEPS | {"values", "gamma", "beta", "epsilon"},
    "--catalogue": frozenset({"formats"}),
}
"""Which options each kind of figure listens to, besides the theme, the title and the file."""


def draw(
    ctx: typer.Context,
    size: options.Size = None,
    kernel: options.Kernel = "3",
    stride: options.Stride = None,
    padding: options.Padding = None,
    dilation: options.Dilation = "1",
    pool: options.Pool = None,
    transposed: options.Transposed = None,
    output_padding: options.OutputPadding = None,
    ceil_mode: options.CeilMode = False,
    dialect: options.Dialect = "convscape",
    in_channels: options.InChannels = None,
    out_channels: options.OutChannels = None,
    groups: options.Groups = 1,
    values: options.Values = "deck",
    weights: options.Weights = "deck",
    seed: options.Seed = 0,
    style: options.Style = "numbers",
    theme: options.Theme = "auto",
    title: options.Title = None,
    step: options.Step = None,
    sheet: options.Sheet = False,
    seconds: options.Seconds = 1.0,
    field: options.Field = None,
    compare: options.Compare = None,
    network: options.Network = None,
    input_: options.Input = None,
    with_: options.With = None,
    batch_norm: options.BatchNorm = False,
    gamma: options.Gamma = None,
    beta: options.Beta = None,
    epsilon: options.Epsilon = "0.001",
    catalogue: options.Catalogue = None,
    formats: options.Formats = "svg,gif",
    output: options.Output = None,
    animate: options.Animate = None,
) -> None:
    """Draw a convolution, pooling or transposed convolution window by window, and more.

    Without -o or --animate the SVG goes to standard output.

    For example: convscape draw 5 -k 3 -s 2 -p 1 -o conv.svg

    convscape draw 5 -k 3 --pool max -s 1 --animate pool.gif --theme dark

    convscape draw 3 -k 3 -s 2 -p 1 --transposed scatter --animate scatter.svg

    convscape draw 6x -k 3 -s 2 -p same/1 --compare keras,pytorch -o compare.svg

    convscape draw 15x --field "k3,k3s2p1,k3d2p2" -o field.svg

    convscape draw --batch-norm --values "1,10;3,14;5,10" -o batch-norm.png

    convscape draw --catalogue docs/figures
    """
    from convscape.figures.figure import check_ending, write_whole

    kinds = {"--field": field, "--compare": compare, "--network": network,
             "--batch-norm": batch_norm or None, "--catalogue": catalogue}  # fmt: skip
    asked = [name for name, value in kinds.items() if value is not None]
    if len(asked) > 1:
        raise InputError("a figure is of one kind", " and ".join(asked), "choose one")
    _refuse_unused(ctx, asked[0] if asked else "")
    if catalogue is not None:
        from convscape.figures.catalogue import write

        count, total = write(catalogue, tuple(formats.split(",")))
        typer.echo(f"{count} files, {total / 1e6:.2f} MB in {catalogue}", err=True)
        return
    if output is None and animate is None and sys.stdout.isatty():
        raise InputError("a figure needs a file", "none", "add -o figure.svg")
    if output is not None:
        check_ending(output)
    if animate is not None:
        check_ending(animate, animate=True)
    looks: dict[str, Any] = {"theme": theme, "title": title}
    if network is not None:
        figure = _network(network, with_, input_, looks)
    elif batch_norm:
        figure = _batch_norm(values, gamma, beta, epsilon, step, seconds, looks)
    else:
        cells = _cells(size)
        numbers: dict[str, Any] = {
            "values": values,
            "weights": weights,
            "seed": seed,
            "style": style,
        }
        operation = _operation(pool, transposed)
        channels = (in_channels, out_channels, groups)
        settings = Settings(cells, kernel, stride, padding, dilation, output_padding, operation,
                            ceil_mode, channels)  # fmt: skip
        if field is not None:
            figure = _field(field, cells, step, seconds, looks)
        elif compare is not None:
            figure = _compare(settings, compare, numbers | looks)
        else:
            from convscape.figures import draw as make

            moving = animate is not None or (output is not None and _moves(output))
            figure = make(
                settings.layer(dialect, padding), cells, transposed=transposed or "spread",
                step=step, sheet=sheet, seconds=seconds, animate=moving, **numbers, **looks,
            )  # fmt: skip
    # Everything is made before anything is written.
    files = [(p, figure.encoded(p, animate=m)) for p, m in ((output, False), (animate, True)) if p]
    for path, data in files:
        write_whole(path, data)
    if not files:
        typer.echo(figure.svg(), nl=False)


def _refuse_unused(ctx: typer.Context, kind: str) -> None:
    """Refuse options that the kind of figure would not listen to."""
    known = APPLIES[kind] | {kind.strip("-").replace("-", "_"), "theme", "title", "output"}
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in known:
            said = "a size" if name == "size" else f"--{name.strip('_').replace('_', '-')}"
            raise InputError(
                f"{kind or 'a drawing of windows'} must know every option",
                f"{said}, which says nothing about it",
                "leave it out",
            )


def _cells(size: str | None) -> tuple[int, ...]:
    """Input cells: 5 is 5x5, 9x is one axis of 9."""
    if size is None:
        raise InputError("a layer is drawn on an input", "no size", "e.g. convscape draw 5 -k 3")
    if size.lower().endswith("x"):
        return (parsing.integer("size", size[:-1]),)
    cells = parsing.integers("size", size)
    return cells * 2 if len(cells) == 1 else cells


def _operation(pool: str | None, transposed: str | None) -> str:
    if pool and transposed:
        raise InputError(
            "a layer is one operation", f"--pool {pool} and --transposed", "drop one of them"
        )
    if pool is None:
        return "conv" if transposed is None else "transposed"
    known = {"max": "max_pool", "avg": "avg_pool", "average": "avg_pool"}
    if pool not in known:
        raise InputError("pooling is max or avg", f"--pool {pool}", "use --pool max or --pool avg")
    return known[pool]


def _moves(path: Path) -> bool:
    return path.suffix.lower() in (".gif", ".mp4")


def _field(
    layers: str, cells: tuple[int, ...], step: int | None, seconds: float, looks: dict[str, Any]
) -> "Figure":
    from convscape.figures import field_figure
    from convscape.figures.chain import parse_chain

    n = cells[0]
    if looks["title"] is None:
        looks = looks | {"title": "Receptive field"}
    return field_figure(parse_chain(layers, n), n, step, seconds=seconds, **looks)


def _compare(settings: Settings, dialects: str, options: dict[str, Any]) -> "Figure":
    from convscape.figures import compare_dialects

    names = [name.strip() for name in dialects.split(",")]
    paddings: list[str | None] = [None]
    if settings.padding is not None:
        paddings = [*settings.padding.split("/")]
    if len(paddings) == 1:
        paddings *= len(names)
    if len(paddings) != len(names):
        raise InputError(
            "padding is one for all dialects, or one for each joined by /",
            f"{len(paddings)} for {', '.join(names)}",
            "e.g. --compare keras,torch -p same/1",
        )
    layers = [settings.layer(name, p) for name, p in zip(names, paddings, strict=True)]
    return compare_dialects(layers, settings.cells, **options)


def _batch_norm(
    values: str,
    gamma: str | None,
    beta: str | None,
    epsilon: str,
    step: int | None,
    seconds: float,
    looks: dict[str, Any],
) -> "Figure":
    from convscape.figures import batch_norm_figure

    if looks["title"] is None:
        looks = looks | {"title": "Batch normalization"}
    batch = "example" if values == "deck" else values
    return batch_norm_figure(
        batch, gamma=gamma, beta=beta, epsilon=epsilon, step=step, seconds=2 * seconds, **looks
    )


def _network(
    model: str, with_: list[str] | None, input_: list[str] | None, looks: dict[str, Any]
) -> "Figure":
    from convscape.cli.trace import load
    from convscape.figures import network_figure

    return network_figure(load(model, with_, input_, None), **looks)
