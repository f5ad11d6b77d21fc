"""`convscape bench explain`: which algorithm computes a setting, what the others say, and why."""

from collections.abc import Sequence
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.cli import layer_options, parsing

DESCRIPTION = (
    "Every algorithm for one layer with its predicted cost, or its reason for refusing; with "
    "--measure also its time and error."
)
EXAMPLES = (
    "56x56 -k 3 -p 1 -c 64 -o 128",
    "56x56 -k 3 -p 1 -c 64 -o 128 --batch 4 --measure",
    "112x112 -k 3 -s 2 -p 1 -c 64 --pool max --json",
)


def bench_explain(arguments: Sequence[str]) -> None:
    """Parse what follows `convscape bench explain`, and print the answer."""
    parser = layer_options.parser("bench explain", DESCRIPTION, EXAMPLES)
    parser.add_argument("size", help="input cells: 224x224")
    parser.add_argument(
        "--dialect", default="convscape", metavar="keras|torch|onnx|jax",
        help="spell, default and round as this framework does",
    )  # fmt: skip
    layer_options.add(parser)
    parser.add_argument("-n", "--batch", type=int, default=1, help="images; default 1")
    parser.add_argument("--dtype", default="float32", help="float32 (default), float64, ...")
    parser.add_argument("--measure", action="store_true", help="also time whoever accepts")
    parser.add_argument("--threads", type=int, help="with --measure; default: torch's")
    parser.add_argument("--rounds", type=int, default=9, help="with --measure; default 9")
    asked = parser.parse_args(arguments)
    cells = parsing.integers("size", asked.size)
    layer = layer_options.layer(asked, len(cells), asked.dialect)
    for name in ("batch", "threads", "rounds"):
        value = getattr(asked, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} must be 1 or more", str(value), "ask for 1 or more")

    from convscape.bench.explain import Setting, explained

    answer = explained(Setting(layer, cells, asked.batch, asked.dtype))
    if asked.measure:
        from convscape.bench.explain_measure import measured

        answer = measured(answer, asked.threads, asked.rounds)
    if asked.json:
        from json import dumps

        print(dumps(answer.data(), indent=2))
    else:
        print("\n".join(lines(answer.data())))


def lines(answer: dict[str, Any]) -> list[str]:
    """One table for each direction."""
    shape = "x".join(map(str, answer["shape"]))
    text = [f"{answer['operation']} of {shape} ({answer['dtype']}), output {answer['output']}"]
    timed = any("median" in row for row in answer["algorithms"])
    for direction in dict.fromkeys(row["direction"] for row in answer["algorithms"]):
        rows = [row for row in answer["algorithms"] if row["direction"] == direction]
        text += ["", direction.replace("_", " ")]
        heads = ["", "algorithm", "cost", "workspace", *(["ms", "error"] if timed else []), ""]
        table = [heads, *(_cells(row, timed) for row in rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(heads))]
        for line in table:
            left = [line[i].ljust(widths[i]) for i in (0, 1)]
            right = [line[i].rjust(widths[i]) for i in range(2, len(heads) - 1)]
            text.append("  ".join([*left, *right, line[-1]]).rstrip())
    return [
        *text,
        "",
        "cost: predicted nanoseconds of one thread; the lowest is taken",
    ]


def _cells(row: dict[str, Any], timed: bool) -> list[str]:
    if row["refusal"] is not None:
        empty = [""] * (4 if timed else 2)
        return ["", row["algorithm"], *empty, f"refuses: {row['refusal']}"]
    cells = ["->" if row["chosen"] else "", row["algorithm"]]
    cells += [f"{row['cost']:,}", _bytes(row["workspace"])]
    if timed:
        known = "median" in row
        cells += [f"{1e3 * row['median']:.3g}", f"{row['error']:.0e}"] if known else ["", ""]
    return [*cells, row.get("problem") or ""]


def _bytes(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
