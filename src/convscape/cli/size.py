"""`convscape size`: the output size of one layer, and why."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.explain import explain
from convscape.cli import layer_options, parsing

DESCRIPTION = "The size of one layer's output, the relationship that gives it, and the border."
EXAMPLES = (
    "5 -k 3 -s 2 -p 1",
    "224x224 -k 7 -s 2 -p same --dialect keras",
    "112x112 -k 3 -s 2 -p 1 --pool max --ceil-mode",
    "7x7 -k 4 -s 2 -p 1 --transposed",
    "56x56 -k 3 -p 1 -c 64 -o 128 --json",
)


def size(arguments: Sequence[str]) -> None:
    """Parse what follows `convscape size`, and print the answer."""
    parser = layer_options.parser("size", DESCRIPTION, EXAMPLES)
    parser.add_argument("size", help="input cells: 224, or 224x224, or 8x64x64")
    parser.add_argument(
        "--dialect",
        default="convscape",
        metavar="keras|torch|onnx|jax",
        help="spell, default and round as this framework does",
    )
    layer_options.add(parser)
    asked = parser.parse_args(arguments)
    cells = parsing.integers("size", asked.size)
    layer = layer_options.layer(asked, len(cells), asked.dialect)
    counted = asked.in_channels is not None or asked.out_channels is not None
    answer = report(layer, cells, counted=counted)
    if asked.json:
        from json import dumps

        print(dumps(answer, indent=2))
    else:
        print("\n".join(lines(answer)))


def report(layer: Layer, cells: tuple[int, ...], *, counted: bool) -> dict[str, Any]:
    """What `--json` prints: see docs/cli-json.md."""
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
