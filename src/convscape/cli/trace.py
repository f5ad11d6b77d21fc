"""`convscape trace`: a whole network, layer by layer, without running it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from convscape.arithmetic.network import Network

Model = Annotated[
    str,
    typer.Argument(
        help="An .onnx or .keras file (only parsed), or package.module:factory (imported and "
        "called: its code runs)."
    ),
]
With = Annotated[
    list[str] | None,
    typer.Option("--with", metavar="KEY=VALUE", help="A keyword argument for the factory."),
]
Input = Annotated[
    list[str] | None,
    typer.Option("--input", "-i", metavar="SHAPE", help="Shape of an input, e.g. 3x224x224, "
                 "without the batch axis; once an input."),
]  # fmt: skip
Batch = Annotated[
    int | None, typer.Option("--batch", "-b", min=1, help="Samples in a batch (default 1).")
]


def trace(
    model: Model,
    with_: With = None,
    input_: Input = None,
    batch: Batch = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Output shapes, parameters, MACs, receptive fields and memory of a network.

    No number is computed and no weight is needed: the shapes are convscape's own arithmetic.
    MACs are multiply-accumulates (a FLOP count is twice that). Field: input cells from the first
    to the last that a cell reads, "all" where some path reads every cell (global pooling,
    attention). Jump: input cells between neighbouring cells.

    For example: convscape trace net.onnx

    convscape trace keras.applications:ResNet50 --with weights=None --input 224x224x3

    convscape trace mypackage.models:make_net --with classes=10 --input 3x32x32 --json
    """
    network = load(model, with_, input_, batch)
    if json_:
        import json

        from convscape.arithmetic.summary import as_dict

        typer.echo(json.dumps(as_dict(network)))
        return
    _print(network)


def load(
    model: str, with_: list[str] | None, input_: list[str] | None, batch: int | None
) -> "Network":
    """The network that the arguments of `trace` and `check` name."""
    from convscape.readers import trace as read
    from convscape.readers.targets import find, parse_settings, parse_shape

    shapes = [parse_shape(s) for s in input_ or []]
    settings = parse_settings(with_ or [])
    return read(find(model, settings), shapes or None, batch=batch)


def _print(network: "Network") -> None:
    from rich.console import Console
    from rich.table import Table

    from convscape.arithmetic.summary import rows, times, totals

    console = Console()
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width to keep to
    inputs = [n for n in network.nodes if n.op == "input"]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("layer", "op", "output"):
        table.add_column(head, overflow="fold", no_wrap=head != "layer")
    for head in ("params", "MACs", "field", "jump"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows(network):
        table.add_row(*row)
    shapes = ", ".join(f"{n.name} {times(network.shape(n) or ())}" for n in inputs)
    console.print(f"{network.name}: {shapes}, batch {network.batch}", markup=False)
    console.print(table)
    console.print(_summary(totals(network)), markup=False, highlight=False)
    for node in network.layers:
        if node.problem:
            console.print(f"? {node.name} ({node.op}): {node.problem}", markup=False)


def _summary(sums: dict[str, Any]) -> str:
    other = sums["params"] - sums["trainable"]
    frozen = f" ({other:,} not trainable)" if other else ""
    return (
        f"{sums['layers']} layers, {sums['params']:,} parameters{frozen}, {sums['macs']:,} MACs\n"
        f"weights {_bytes(sums['weight_bytes'])}, activations {_bytes(sums['activation_bytes'])}; "
        f"inference peak {_bytes(sums['peak_bytes'])} at {sums['peak_layer']}; training keeps "
        f"{_bytes(sums['saved_bytes'])}, {_bytes(sums['training_bytes'])} with weights and "
        "gradients"
    )


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
