"""`convscape translate`: the same layer for another framework, with code to paste."""

from collections.abc import Sequence
from typing import Any

from convscape.arithmetic.dialects import DIALECTS, Layer
from convscape.arithmetic.dialects.rules import dialect_named
from convscape.arithmetic.dialects.translate import Translation
from convscape.arithmetic.dialects.translate import translate as translate_layer
from convscape.arithmetic.dialects.write import code
from convscape.arithmetic.errors import InputError
from convscape.cli import layer_options, parsing

DESCRIPTION = (
    "The same layer for another framework: windows at the same cells, explicit padding where the\n"
    "framework would place them elsewhere, and code to paste."
)
EXAMPLES = (
    "224x224 -k 3 -s 2 -p same --from keras --to torch -c 3 -o 64",
    "112x112 -k 3 -s 2 -p 1 --pool max --from torch --to keras",
    "7x7 -k 3 -s 2 -p same --transposed --from keras --to torch --to onnx",
    "32 -k 3 -p 1 --from torch --to all --json",
)


def translate(arguments: Sequence[str]) -> None:
    """Parse what follows `convscape translate`, and print the answer."""
    parser = layer_options.parser("translate", DESCRIPTION, EXAMPLES)
    parser.add_argument("size", help="input cells: windows may lie differently on another size")
    names = "|".join(DIALECTS)
    parser.add_argument("--from", dest="source", required=True, metavar=names)
    parser.add_argument(
        "--to",
        dest="targets",
        action="append",
        required=True,
        metavar=f"{names}|all",
        help="may be given more than once",
    )
    layer_options.add(parser)
    asked = parser.parse_args(arguments)
    cells = parsing.integers("size", asked.size)
    layer = layer_options.layer(asked, len(cells), asked.source)
    targets = _targets(asked.targets, layer)
    answers = [report(layer, cells, target, tolerant=len(targets) > 1) for target in targets]
    if asked.json:
        from json import dumps

        source = {"from": layer.dialect, "input": list(cells)}
        source["output"] = list(layer.outputs(cells))
        print(dumps(source | {"translations": answers}, indent=2))
    else:
        print("\n\n".join(text(answer) for answer in answers))


def _targets(names: Sequence[str], layer: Layer) -> list[str]:
    if "all" in names:
        return [d for d in DIALECTS if d != layer.dialect]
    return list(dict.fromkeys(dialect_named(name) for name in names))


def report(layer: Layer, cells: tuple[int, ...], target: str, *, tolerant: bool) -> dict[str, Any]:
    """One entry of `translations` in `--json`: see docs/cli-json.md.

    With several targets (tolerant) a refusal is an answer; alone it is an error.
    """
    try:
        made = translate_layer(layer, cells, target)
    except InputError as refusal:
        if not tolerant:
            raise
        return {"to": target, "refused": str(refusal)}
    return _answer(made)


def _answer(made: Translation) -> dict[str, Any]:
    layer = made.layer
    return {
        "to": layer.dialect,
        "exact": made.exact,
        "output": list(made.outputs),
        "kernel": list(layer.kernel),
        "stride": list(layer.stride),
        "dilation": list(layer.dilation),
        "padding": [list(p) if isinstance(p, tuple) else p for p in layer.padding],
        "output_padding": list(layer.output_padding) if layer.output_padding else None,
        "ceil_mode": layer.ceil_mode,
        "count_include_pad": layer.count_include_pad,
        "pad": [list(pair) for pair in made.pad],
        "crop": [list(pair) for pair in made.crop],
        "counted": [list(pair) for pair in made.counted] if made.counted is not None else None,
        "notes": list(made.notes),
        "code": code(made),
    }


def text(answer: dict[str, Any]) -> str:
    """One translation for the screen: notes as comments, so that all of it can be pasted."""
    if "refused" in answer:
        return f"# {answer['to']}: {answer['refused']}"
    notes = [f"# {answer['to']}" + (": the same layer" if answer["exact"] else "")]
    return "\n".join([*notes, *(f"# {note}" for note in answer["notes"]), "", answer["code"]])
