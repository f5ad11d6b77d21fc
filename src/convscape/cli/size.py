"""`convscape size`: the output size of one layer, and why."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from convscape.arithmetic.errors import InputError
from convscape.cli import parsing


def size(
    spatial: Annotated[
        str, typer.Argument(metavar="SIZE", help="Input cells: 224, or 224x224, or 8x64x64.")
    ],
    kernel: Annotated[str, typer.Option("--kernel", "-k", help="Kernel: 3, or 3x5 an axis.")],
    stride: Annotated[
        str | None,
        typer.Option(
            "--stride",
            "-s",
            help="Stride. Default: the framework's own (1; of pooling the kernel).",
        ),
    ] = None,
    padding: Annotated[
        str | None,
        typer.Option(
            "--padding",
            "-p",
            help="1, or 0,1 (low,high), or 1x2 an axis, or a name: same, half, full, causal, ...",
        ),
    ] = None,
    dilation: Annotated[
        str, typer.Option("--dilation", "-d", help="Distance between kernel cells.")
    ] = "1",
    transposed: Annotated[
        bool, typer.Option("--transposed", "-t", help="A transposed convolution.")
    ] = False,
    pool: Annotated[
        str | None, typer.Option("--pool", metavar="max|avg", help="A pooling.")
    ] = None,
    ceil_mode: Annotated[
        bool, typer.Option("--ceil-mode", help="Round pooling's size up.")
    ] = False,
    output_padding: Annotated[
        str | None,
        typer.Option("--output-padding", "-a", help="Extra cells of a transposed convolution."),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(
            "--dialect",
            metavar="keras|torch|onnx|jax",
            help="Spell, default and round as this framework does.",
        ),
    ] = None,
    in_channels: Annotated[
        int | None, typer.Option("--in-channels", "-c", help="Channels in: counts parameters too.")
    ] = None,
    out_channels: Annotated[
        int | None, typer.Option("--out-channels", "-o", help="Channels out. Default: as many.")
    ] = None,
    groups: Annotated[int, typer.Option("--groups", "-g", help="Channel groups.")] = 1,
    bias: Annotated[bool, typer.Option("--bias/--no-bias", help="Count biases.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/cli-json.md).")] = False,
) -> None:
    """Size of one layer's output, the relationship that gives it, and what happens at the border.

    \b
    convscape size 5 -k 3 -s 2 -p 1
    convscape size 224x224 -k 7 -s 2 -p same --dialect keras
    convscape size 112x112 -k 3 -s 2 -p 1 --pool max --ceil-mode
    convscape size 7x7 -k 4 -s 2 -p 1 --transposed
    convscape size 56x56 -k 3 -p 1 -c 64 -o 128 --json
    """  # noqa: D301 (\b keeps the lines apart in the help)
    from convscape.arithmetic.dialects import Layer

    cells = parsing.integers("size", spatial)
    channels = in_channels if in_channels is not None else (out_channels or groups)
    layer = Layer.of(
        dialect or "convscape",
        operation_of(transposed, pool),
        _required(parsing.per_axis("kernel", kernel)),
        parsing.per_axis("stride", stride),
        parsing.padding(padding),
        _required(parsing.per_axis("dilation", dilation)),
        rank=len(cells),
        ceil_mode=ceil_mode,
        output_padding=parsing.per_axis("output_padding", output_padding),
        in_channels=channels,
        out_channels=out_channels,
        groups=groups,
        bias=bias,
    )
    answer = report(layer, cells, counted=in_channels is not None or out_channels is not None)
    if json:
        from json import dumps

        typer.echo(dumps(answer, indent=2))
    else:
        typer.echo("\n".join(lines(answer)))


def operation_of(transposed: bool, pool: str | None) -> str:
    """The operation from the two options that name it."""
    if transposed and pool:
        raise InputError(
            "a layer is one operation", f"--transposed and --pool {pool}", "drop one of them"
        )
    if pool is None:
        return "transposed" if transposed else "conv"
    known = {"max": "max_pool", "avg": "avg_pool", "average": "avg_pool"}
    if pool not in known:
        raise InputError("pooling is max or avg", f"--pool {pool}", "use --pool max or --pool avg")
    return known[pool]


def report(layer: Any, cells: tuple[int, ...], *, counted: bool) -> dict[str, Any]:
    """What `--json` prints: see docs/cli-json.md."""
    from convscape.arithmetic.relationships import explain

    outputs = layer.outputs(cells)
    axes = [
        explain(w, n, layer.operation, ceil_mode=layer.ceil_mode)
        for w, n in zip(layer.configured(cells), cells, strict=True)
    ]
    numbers = {e.relationship.number for e in axes}
    answer: dict[str, Any] = {
        "operation": layer.operation,
        "dialect": layer.dialect,
        "input": list(cells),
        "kernel": list(layer.kernel),
        "stride": list(layer.stride),
        "dilation": list(layer.dilation),
        "padding": [list(e.padding) for e in axes],
        "output_padding": [e.symbols.get("a", 0) for e in axes],
        "ceil_mode": layer.ceil_mode,
        "output": list(outputs),
        "relationship": numbers.pop() if len(numbers) == 1 else None,
        "axes": [
            {
                "relationship": e.relationship.number,
                "name": e.relationship.name,
                "formula": e.formula,
                "numbers": e.substituted,
                "window": asdict(e.window),
                "notes": list(e.notes),
            }
            for e in axes
        ],
    }
    if counted:
        answer |= {
            "in_channels": layer.in_channels,
            "out_channels": layer.out_channels,
            "groups": layer.groups,
            "parameters": layer.parameters(),
            "macs": layer.macs(cells),
        }
    return answer


def lines(answer: dict[str, Any]) -> list[str]:
    """The little table and its explanation, for the screen."""
    rows = []
    for axis, (low, high) in enumerate(answer["padding"]):
        row = {
            "i": answer["input"][axis],
            "k": answer["kernel"][axis],
            "s": answer["stride"][axis],
            "d": answer["dilation"][axis],
            "p": low if low == high else f"{low},{high}",
            "a": answer["output_padding"][axis],
            "o": answer["output"][axis],
        }
        rows.append({name: str(value) for name, value in row.items()})
    plain = {"d": "1", "a": "0"}
    names = [c for c in rows[0] if c not in plain or any(r[c] != plain[c] for r in rows)]
    alike = all(row == rows[0] for row in rows)
    shown = rows[:1] if alike else rows
    widths = {c: max(len(r[c]) for r in [*shown, {c: c}]) for c in names}
    table = [dict(zip(names, names, strict=True)), *shown]
    text = ["  ".join(row[c].rjust(widths[c] + 1) for c in names) for row in table]
    if alike and len(rows) > 1:
        text[1] += f"   on each of {len(rows)} axes"
    for axis, e in enumerate(answer["axes"][: len(shown)]):
        number = f"relationship {e['relationship']}: " if e["relationship"] else ""
        where = f"axis {axis}, " if len(shown) > 1 else ""
        text += ["", f"{where}{number}{e['name']}", f"  {e['formula']}"]
        text.append("    " + e["numbers"].removeprefix("o "))
        text += [f"  {note}" for note in e["notes"]]
    if "macs" in answer:
        text += ["", f"parameters {answer['parameters']:,}   MACs {answer['macs']:,}"]
    return text


def _required(value: int | tuple[int, ...] | None) -> int | tuple[int, ...]:
    assert value is not None
    return value
