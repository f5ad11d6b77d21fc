"""The page's arithmetic is Python's, setting by setting, in a real browser."""

import json
import random
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from convscape.arithmetic import InputError, Window, ceiled, resolve
from convscape.arithmetic.average import divisors
from convscape.arithmetic.border import border
from convscape.arithmetic.dialects import DIALECTS, Layer, window
from convscape.arithmetic.dialects.translate import translate
from convscape.arithmetic.dialects.write import code
from convscape.arithmetic.explain import explain
from convscape.arithmetic.field import Field, read_cells
from convscape.arithmetic.padding import PADDING_NAMES
from convscape.arithmetic.solve import Constraints, solve
from tests.explorer_support import Tab, browser, serving

OPERATIONS = ("conv", "transposed", "max_pool", "avg_pool")


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with browser() as started, serving() as server:
        tab = Tab(started, server.address)
        yield tab.open()
        tab.close()


def run(page: Any, body: str, cases: list[Any]) -> list[Any]:
    """What a JavaScript function of one case, with the module as m, makes of all cases."""
    # As one text each way: the driver takes long over large structures.
    script = f"""async (text) => {{
      const m = await import(new URL("explorer.js", location.href));
      const one = {body};
      return JSON.stringify(JSON.parse(text).map((c) => {{
        try {{ return one(c); }} catch (error) {{
          if (!(error instanceof m.InputError)) throw error;
          return {{ refused: error.rule }};
        }}
      }}));
    }}"""
    return list(json.loads(page.evaluate(script, json.dumps(cases))))


def refusing(make: Any, *arguments: Any, **named: Any) -> Any:
    try:
        return make(*arguments, **named)
    except InputError as error:
        return {"refused": error.rule}


def compare(cases: list[Any], page_says: list[Any], python_says: list[Any]) -> None:
    for case, theirs, ours in zip(cases, page_says, python_says, strict=True):
        assert theirs == ours, case


def fields(w: Window) -> list[Any]:
    return [w.kernel, w.stride, w.dilation, w.input_dilation, list(w.padding)]


JS_WINDOW = "m.makeWindow(c.w[0], c.w[1], c.w[2], c.w[3], c.w[4])"
JS_FIELDS = "((w) => [w.kernel, w.stride, w.dilation, w.input_dilation, [...w.padding]])"


def some_windows(count: int, seed: int) -> list[tuple[Window, int]]:
    dice = random.Random(seed)
    made: list[tuple[Window, int]] = []
    while len(made) < count:
        w = Window(
            dice.randint(1, 7), dice.randint(1, 5), dice.randint(1, 3),
            dice.choice((1, 1, 2, 3)), (dice.randint(-1, 6), dice.randint(-1, 6)),
        )  # fmt: skip
        made.append((w, dice.randint(1, 17)))
    return made


def plain_settings() -> list[tuple[Window, int]]:
    """Every small setting of the lesson's kind: 4,050 of them."""
    shapes = product(range(1, 10), range(1, 6), range(1, 4), range(1, 4), range(5), range(2))
    return [(Window(k, s, d, 1, (p, p + odd)), n) for n, k, s, d, p, odd in shapes]


def test_sizes_taps_and_borders_of_more_than_5000_settings(page: Any) -> None:
    made = plain_settings() + some_windows(2000, seed=1)
    assert len(made) > 5000
    cases = [{"w": fields(w), "n": n} for w, n in made]
    ours = []
    for w, n in made:
        o = w.output(n)
        b = border(w, n)
        ours.append(
            [
                o, w.room(n), w.slack(n), w.extent, list(w.unread(n)),
                [list(w.taps(at, n)) for at in range(o)],
                [w.inputs(o).start, w.inputs(o).stop] if w.inputs(o) else None,
                fields(w.adjoint(n)) if o else None,
                fields(ceiled(w, n)),
                list(divisors(w, n, (max(0, w.padding[0]), 0))),
                [b.head, b.tail, b.skipped, list(b.padding_read), list(b.padding_unread),
                 list(b.idle), b.blind],
            ]
        )  # fmt: skip
    theirs = run(
        page,
        f"""(c) => {{
          const w = {JS_WINDOW};
          const o = m.output(w, c.n);
          const [from, to] = m.inputs(w, o);
          const b = m.border(w, c.n);
          return [
            o, m.room(w, c.n), m.slack(w, c.n), m.extent(w), m.unread(w, c.n),
            m.range(o).map((at) => m.taps(w, at, c.n)),
            to > from ? [from, to] : null,
            o ? {JS_FIELDS}(m.adjoint(w, c.n)) : null,
            {JS_FIELDS}(m.ceiled(w, c.n)),
            m.divisors(w, c.n, [Math.max(0, w.padding[0]), 0]),
            [b.head, b.tail, b.skipped, b.padding_read, b.padding_unread, b.idle, b.blind],
          ];
        }}""",
        cases,
    )
    compare(cases, theirs, ours)


def test_relationships_formulas_and_notes(page: Any) -> None:
    dice = random.Random(2)
    cases = []
    for w, n in plain_settings()[::3] + some_windows(900, seed=3):
        op = dice.choice(OPERATIONS)
        ceil = op.endswith("pool") and dice.random() < 0.5
        cases.append({"w": fields(w), "n": n, "op": op, "ceil": ceil})

    def python(case: Any) -> Any:
        k, s, d, e, pads = case["w"]
        e = explain(Window(k, s, d, e, tuple(pads)), case["n"], case["op"], ceil_mode=case["ceil"])
        return [
            e.relationship.number, e.relationship.name, e.formula, e.substituted, e.output,
            dict(e.symbols), list(e.notes),
        ]  # fmt: skip

    theirs = run(
        page,
        f"""(c) => {{
          const e = m.explain({JS_WINDOW}, c.n, c.op, c.ceil);
          return [e.number, e.name, e.formula, e.substituted, e.output, e.symbols, e.notes];
        }}""",
        cases,
    )
    compare(cases, theirs, [refusing(python, case) for case in cases])


def test_padding_names(page: Any) -> None:
    cases: list[dict[str, Any]] = [
        {"p": p, "n": n, "k": k, "s": s, "d": d}
        for p in (*PADDING_NAMES, 2)
        for n, k, s, d in product((1, 4, 7, 8), range(1, 6), (1, 2, 3), (1, 2))
    ]
    theirs = run(page, f"(c) => {JS_FIELDS}(m.resolve(c.p, c.n, c.k, c.s, c.d))", cases)
    ours = [fields(resolve(c["p"], c["n"], c["k"], c["s"], c["d"])) for c in cases]
    compare(cases, theirs, ours)


SPELLINGS: dict[str, list[Any]] = {
    "keras": ["valid", "same", "causal", 0, 1],
    "torch": ["valid", "same", 0, 1, 2, [1, 1], [0, 1]],
    "onnx": ["VALID", "SAME_UPPER", "SAME_LOWER", "same", 0, [1, 0], [2, 3]],
    "jax": ["SAME", "SAME_LOWER", "VALID", "CAUSAL", [1, 2], [-1, 0], 1],
    "convscape": [*PADDING_NAMES, 1, [0, 2]],
}


def some_axes(count: int) -> list[dict[str, Any]]:
    dice = random.Random(4)
    cases = []
    for _ in range(count):
        dialect = dice.choice([*SPELLINGS])
        op = dice.choice(OPERATIONS)
        cases.append(
            {
                "dialect": dialect,
                "operation": op,
                "n": dice.randint(1, 12),
                "kernel": dice.randint(1, 6),
                "stride": dice.randint(1, 4),
                "padding": dice.choice(SPELLINGS[dialect]),
                "dilation": dice.choice((1, 1, 1, 2)),
                "ceil_mode": op.endswith("pool") and dice.random() < 0.4,
                "output_padding": dice.choice((None, 0, 1, 2)) if op == "transposed" else None,
                "output_size": dice.choice((None, None, None, 9)) if op == "transposed" else None,
            }
        )
    return cases


def test_dialects_agree_and_refuse_alike(page: Any) -> None:
    cases = some_axes(4000)

    def python(c: dict[str, Any]) -> Any:
        padding = tuple(c["padding"]) if isinstance(c["padding"], list) else c["padding"]
        return fields(
            window(
                c["dialect"], c["operation"], c["n"], c["kernel"], c["stride"], padding,
                c["dilation"], ceil_mode=c["ceil_mode"], output_padding=c["output_padding"],
                output_size=c["output_size"],
            )
        )  # fmt: skip

    theirs = run(page, f"(c) => {JS_FIELDS}(m.dialectWindow(c.dialect, c))", cases)
    ours = [refusing(python, c) for c in cases]
    compare(cases, theirs, ours)
    refused = sum(isinstance(answer, dict) for answer in ours)
    assert 400 < refused < 2500


def some_layers(count: int) -> list[tuple[dict[str, Any], list[int]]]:
    dice = random.Random(5)
    made: list[tuple[dict[str, Any], list[int]]] = []
    while len(made) < count:
        op = dice.choice(OPERATIONS)
        rank = dice.choice((1, 2, 2))
        dialect = dice.choice(("convscape", "convscape", *DIALECTS))
        spelled = [p for p in SPELLINGS[dialect] if not isinstance(p, str)] or ["valid"]
        named = [p for p in SPELLINGS[dialect] if isinstance(p, str)]
        padding = (
            [dice.choice(named)] * rank if named and dice.random() < 0.5
            else [dice.choice(spelled) for _ in range(rank)]
        )  # fmt: skip
        groups = dice.choice((1, 1, 1, 2)) if not op.endswith("pool") else 1
        layer = {
            "dialect": dialect,
            "operation": op,
            "kernel": [dice.randint(1, 4) for _ in range(rank)],
            "stride": [dice.randint(1, 3) for _ in range(rank)],
            "padding": padding,
            "dilation": [dice.choice((1, 1, 1, 2)) for _ in range(rank)],
            "ceil_mode": op.endswith("pool") and dice.random() < 0.3,
            "output_padding": (
                [dice.randint(0, 1) for _ in range(rank)]
                if op == "transposed" and dialect != "jax" and dice.random() < 0.5 else None
            ),
            "output_size": None,
            "count_include_pad": op == "avg_pool" and dice.random() < 0.5,
            "in_channels": 2 * groups,
            "out_channels": 2 * groups,
            "groups": groups,
            "bias": dice.random() < 0.8,
        }  # fmt: skip
        made.append((layer, [dice.randint(3, 9) for _ in range(rank)]))
    return made


def python_layer(given: dict[str, Any]) -> Layer:
    pairs: dict[str, Any] = {
        name: tuple(tuple(v) if isinstance(v, list) else v for v in value)
        if isinstance(value, list) else value
        for name, value in given.items()
    }  # fmt: skip
    return Layer(**pairs).checked()


def test_translations_and_code_are_the_same_text(page: Any) -> None:
    cases = [
        {"layer": layer, "spatial": spatial, "to": to}
        for layer, spatial in some_layers(260)
        for to in DIALECTS
    ]

    def python(c: dict[str, Any]) -> Any:
        return code(translate(python_layer(c["layer"]), c["spatial"], c["to"]))

    theirs = run(
        page, "(c) => m.code(m.translate(m.makeLayer(c.layer), c.spatial, c.to))", cases
    )  # fmt: skip
    ours = [refusing(python, c) for c in cases]
    compare(cases, theirs, ours)
    assert sum(isinstance(answer, str) for answer in ours) > 300


def test_receptive_fields(page: Any) -> None:
    dice = random.Random(6)
    cases: list[dict[str, Any]] = []
    while len(cases) < 300:
        chain = [w for w, _ in some_windows(dice.randint(1, 4), seed=dice.randrange(1 << 30))]
        n = dice.randint(4, 20)
        sizes = [n]
        for w in chain:
            sizes.append(w.output(sizes[-1]))
        if sizes[-1]:
            cases.append({"ws": [fields(w) for w in chain], "n": n, "o": dice.randrange(sizes[-1])})

    def python(c: dict[str, Any]) -> Any:
        chain = [Window(k, s, d, e, tuple(p)) for k, s, d, e, p in c["ws"]]
        field = Field.of(*chain)
        cells = [list(field.cells(o)) for o in range(-2, 5)]
        return [
            field.size,
            field.step,
            field.period,
            cells,
            list(read_cells(chain, c["n"], c["o"])),
        ]

    theirs = run(
        page,
        """(c) => {
          const ws = c.ws.map((w) => m.makeWindow(...w));
          const field = ws.reduce(m.fieldThen, m.identity);
          const { size, step, period } = m.fieldSummary(field);
          const cells = m.range(7, -2).map((o) => m.fieldCells(field, o));
          return [size, step, period, cells, m.readCells(ws, c.n, c.o)[0]];
        }""",
        cases,
    )
    compare(cases, theirs, [python(c) for c in cases])


def test_the_inverse_problem_has_the_same_solutions_in_the_same_order(page: Any) -> None:
    cases = [
        {"i": i, "o": o, "op": op, "uneven": uneven, "ceil": ceil, "dilations": dilations}
        for op in OPERATIONS
        for i, o in (([5], [3]), ([7, 7], [4, 4]), ([8, 5], [4, 3]), ([3], [6]))
        for uneven, ceil, dilations in ((False, False, [1]), (True, False, [1, 2]),
                                        (False, op.endswith("pool"), [1]))
    ]  # fmt: skip

    def python(c: dict[str, Any]) -> Any:
        allowed = Constraints(
            operation=c["op"], dilation=tuple(c["dilations"]), asymmetric=c["uneven"],
            ceil_mode=c["ceil"],
        )  # fmt: skip
        return [
            [s.kernel, s.stride, s.dilation, list(s.padding), s.output_padding]
            for s in solve(c["i"], c["o"], allowed)
        ]

    theirs = run(
        page,
        """(c) => m.solve(c.i, c.o, c.op, {
          asymmetric: c.uneven, ceil: c.ceil, dilations: c.dilations,
        }).map((s) => [s.kernel, s.stride, s.dilation, s.padding, s.output_padding])""",
        cases,
    )
    compare(cases, theirs, [python(c) for c in cases])


def correlated(layer: Layer, spatial: list[int], x: Any, w: Any) -> Any:
    """Output numbers by loops over taps: the kernel reversed where it is transposed."""
    windows = layer.windows(spatial)
    pooling = layer.operation.endswith("pool")
    per = layer.in_channels // layer.groups
    per_out = layer.out_channels // layer.groups
    flip = layer.operation == "transposed"
    counted = (
        [v.padding for v in layer.configured(spatial)] if layer.count_include_pad
        else [(0, 0)] * layer.rank
    )  # fmt: skip
    out = []
    for f in range(layer.out_channels):
        grid = []
        for y in range(windows[0].output(spatial[0])):
            row = []
            for at in range(windows[1].output(spatial[1])):
                found = []
                for ky, iy in enumerate(windows[0].taps(y, spatial[0])):
                    for kx, ix in enumerate(windows[1].taps(at, spatial[1])):
                        if iy is None or ix is None:
                            continue
                        if pooling:
                            found.append(x[f][iy][ix])
                            continue
                        wy = windows[0].kernel - 1 - ky if flip else ky
                        wx = windows[1].kernel - 1 - kx if flip else kx
                        first = f // per_out * per
                        found += [x[first + c][iy][ix] * w[f][c][wy][wx] for c in range(per)]
                if layer.operation == "max_pool":
                    row.append(max(found) if found else None)
                elif layer.operation == "avg_pool":
                    cells = (
                        divisors(windows[0], spatial[0], counted[0])[y]
                        * divisors(windows[1], spatial[1], counted[1])[at]
                    )
                    row.append(sum(found) / cells if cells else None)
                else:
                    row.append(sum(found))
            grid.append(row)
        out.append(grid)
    return out


def test_numbers_of_all_operations_groups_and_channels(page: Any) -> None:
    cases: list[dict[str, Any]] = []
    for layer, spatial in some_layers(700):
        if layer["dialect"] == "convscape" and len(spatial) == 2:
            answer = refusing(lambda c: python_layer(c[0]).windows(c[1]), (layer, spatial))
            if not isinstance(answer, dict):
                cases.append({"layer": layer, "spatial": spatial})
    assert len(cases) > 80
    theirs = run(
        page,
        """(c) => {
          const p = m.prepare(m.makeLayer(c.layer), c.spatial);
          const numbers = m.numbersOf(p, new Map(), new Map());
          // The sum that is scattered input by input is the same.
          const scattered = p.reversed
            ? m.range(p.filters).map((f) => m.partial(p, numbers, Infinity, f)) : null;
          return [numbers.x, numbers.w, m.allValues(p, numbers), scattered];
        }""",
        cases,
    )
    for case, (x, w, values, scattered) in zip(cases, theirs, strict=True):
        ours = correlated(python_layer(case["layer"]), case["spatial"], x, w)
        assert values == ours, case
        assert scattered is None or scattered == ours, case
