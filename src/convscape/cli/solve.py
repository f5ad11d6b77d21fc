"""`convscape solve`: every window that takes one size to another."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from convscape.arithmetic.chain import solve_chain
from convscape.arithmetic.errors import InputError
from convscape.arithmetic.operations import operation
from convscape.arithmetic.solve import Constraints, Solution
from convscape.arithmetic.solve import solve as solve_layer
from convscape.cli import layer_options, parsing

DESCRIPTION = "Every window that takes INPUT cells to OUTPUT, smallest first; or chains of layers."
EXAMPLES = (
    "5 3 -k 3",
    "224x224 112x112 -k 7 --asymmetric",
    "112 56 --pool max -s 2 --ceil-mode",
    "7 14 --transposed -k 4",
    "224 7 --layers 3 -k 3,5,7",
    "224 7 --layers 5 -k 3 -s 2 --identical",
)


def solve(arguments: Sequence[str]) -> None:
    """Parse what follows `convscape solve`, and print the answer."""
    parser = layer_options.parser("solve", DESCRIPTION, EXAMPLES)
    parser.add_argument("input", help="input cells: 224, or 224x224")
    parser.add_argument("output", help="output cells wanted")
    parser.add_argument("-k", "--kernel", help="kernel, or a choice: 3,5,7; default: any")
    parser.add_argument("-s", "--stride", help="stride, or a choice; default: any up to the kernel")
    parser.add_argument("-d", "--dilation", default="1", help="dilation, or a choice: 1,2,4")
    parser.add_argument("-p", "--padding", help="padding: 1, or 0,1 (low,high); default: any")
    layer_options.add_operation(parser)
    parser.add_argument("--ceil-mode", action="store_true", help="round pooling's size up")
    parser.add_argument(
        "--asymmetric", action="store_true", help="allow different padding at the two ends"
    )
    parser.add_argument("--largest", type=int, default=11, help="largest kernel tried (11)")
    parser.add_argument("--layers", type=int, default=1, help="solve for a chain of so many layers")
    parser.add_argument("--identical", action="store_true", help="all layers of the chain alike")
    parser.add_argument("--limit", type=int, default=20, help="show at most so many (20)")
    asked = parser.parse_args(arguments)
    answer = report(asked)
    if asked.json:
        from json import dumps

        print(dumps(answer, indent=2))
    else:
        print("\n".join(lines(answer)))


def report(asked: Namespace) -> dict[str, Any]:
    """What `--json` prints: see docs/cli-json.md."""
    allowed = Constraints(
        operation(layer_options.operation(asked)),
        _choices("kernel", asked.kernel),
        _choices("stride", asked.stride),
        _choices("dilation", asked.dilation),
        _fixed(asked.padding),
        asked.asymmetric,
        asked.ceil_mode,
        asked.largest,
    )
    inputs = parsing.integers("input", asked.input)
    outputs = parsing.integers("output", asked.output)
    if asked.limit < 1:
        raise InputError("limit must be at least 1", f"{asked.limit}", "use 20")
    answer: dict[str, Any] = {
        "operation": allowed.operation,
        "input": list(inputs),
        "output": list(outputs),
        "layers": asked.layers,
    }
    if asked.layers == 1:
        found = solve_layer(inputs, outputs, allowed)
        return answer | {
            "found": len(found),
            "windows": [_window(s) for s in found[: asked.limit]],
        }
    if len(inputs) > 1 or len(outputs) > 1:
        raise InputError(
            "a chain is solved for one axis", f"{asked.input} to {asked.output}", "give one size"
        )
    chains = solve_chain(
        inputs[0], outputs[0], asked.layers, allowed,
        identical=asked.identical, limit=asked.limit,
    )  # fmt: skip
    listed = [[_window(s) for s in chain] for chain in chains]
    return answer | {
        "found": len(listed),
        "windows": listed[0] if listed else [],
        "chains": [
            {"windows": windows, "sizes": _sizes(allowed, chain, inputs[0])}
            for windows, chain in zip(listed, chains, strict=True)
        ],
    }


def lines(answer: dict[str, Any]) -> list[str]:
    """The answer for the screen, one window or chain a line."""
    if not answer["found"]:
        return ["no window does it under these constraints"]
    if "chains" in answer:
        return [
            " -> ".join(
                [str(chain["sizes"][0])]
                + [
                    f"[{_brief(w)}] {size}"
                    for w, size in zip(chain["windows"], chain["sizes"][1:], strict=True)
                ]
            )
            for chain in answer["chains"]
        ]
    text = [_brief(window) for window in answer["windows"]]
    more = answer["found"] - len(text)
    return [*text, f"and {more} more (--limit)"] if more else text


def _window(s: Solution) -> dict[str, Any]:
    return {
        "kernel": s.kernel,
        "stride": s.stride,
        "dilation": s.dilation,
        "padding": list(s.padding),
        "output_padding": s.output_padding,
    }


def _brief(window: dict[str, Any]) -> str:
    low, high = window["padding"]
    text = f"k={window['kernel']} s={window['stride']}"
    text += f" p={low}" if low == high else f" p={low},{high}"
    text += f" d={window['dilation']}" if window["dilation"] > 1 else ""
    return text + (f" a={window['output_padding']}" if window["output_padding"] else "")


def _sizes(allowed: Constraints, chain: list[Solution], n: int) -> list[int]:
    sizes = [n]
    for s in chain:
        sizes.append(allowed.output(s, sizes[-1]))
    return sizes


def _choices(name: str, text: str | None) -> int | tuple[int, ...] | None:
    if text is None:
        return None
    numbers = tuple(parsing.integer(name, part) for part in text.split(","))
    return numbers[0] if len(numbers) == 1 else numbers


def _fixed(text: str | None) -> int | tuple[int, int] | None:
    numbers = _choices("padding", text)
    if isinstance(numbers, tuple):
        if len(numbers) != 2:
            raise InputError("padding is one number or low,high", f"{text!r}", "write 1 or 0,1")
        return numbers[0], numbers[1]
    return numbers
