"""Receptive fields, dialects side by side, networks and batch normalization, drawn."""

import doctest
import importlib
import pkgutil
import re
import xml.etree.ElementTree as ET
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import convscape.figures
from convscape.arithmetic import InputError, Window
from convscape.arithmetic.builder import Builder
from convscape.arithmetic.dialects import Layer
from convscape.arithmetic.field import Field, read_cells
from convscape.figures import (
    batch_norm_figure,
    compare_dialects,
    draw,
    field_figure,
    network_figure,
)
from convscape.figures.batch_norm import EXAMPLE
from convscape.figures.chain import parse_chain
from convscape.figures.numbers import parse
from tests.test_figures_numbers import keyed, numbers

layers = st.builds(
    Window,
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    input_dilation=st.integers(1, 2),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    windows=st.lists(layers, min_size=1, max_size=4), n=st.integers(6, 14), pick=st.integers(0, 9)
)
def test_a_drawn_field_is_what_the_stack_reads(windows: list[Window], n: int, pick: int) -> None:
    sizes = [n]
    for w in windows:
        sizes.append(w.output(sizes[-1]))
    if sizes[-1] == 0 or max(sizes) > 40:
        return
    cell = pick % sizes[-1]
    found = keyed(field_figure(windows, n, cell))
    read = {int(k.split()[2]) for k in found if k.startswith("cell 0 ") and k.endswith(" read")}
    assert read == set(read_cells(windows, n, cell))
    for level, w in enumerate(windows, 1):
        assert f"field {level} {Field.of(*windows[:level]).size}" in found
        assert sum(k.startswith(f"cell {level} ") for k in found) == sizes[level], w
    everywhere = {c for o in range(sizes[-1]) for c in read_cells(windows, n, o)}
    unread = {int(k.split()[1]) for k in found if k.startswith("unread ")}
    assert unread == set(range(n)) - everywhere


def test_a_field_figure_has_a_frame_for_every_cell() -> None:
    figure = field_figure([Window(3, 2), Window(2)], 11)
    assert len(figure.frames) == Window(2).output(Window(3, 2).output(11)) == 4
    assert figure.frames[1] == figure.scene


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("k3", 9, [Window(3)]),
        ("k3s2p1, k3d2p2", 9, [Window(3, 2, padding=(1, 1)), Window(3, 1, 2, padding=(2, 2))]),
        ("k4s2psame,k2psame", 9, [Window(4, 2, padding=(1, 2)), Window(2, padding=(0, 1))]),
        ("k3p0-1", 9, [Window(3, padding=(0, 1))]),
        ("K3PCAUSAL", 9, [Window(3, padding=(2, 0))]),
        ("tk3s2p1", 9, [Window(3, 1, 1, 2, (1, 1))]),
    ],
)
def test_a_stack_is_read_from_letters(text: str, n: int, expected: list[Window]) -> None:
    assert parse_chain(text, n) == expected


@pytest.mark.parametrize("text", ["", "3", "k3,,k3", "k3x", "s2k3", "k3p", "tk3psame", "k-3", "k0"])
def test_a_stack_that_is_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_chain(text, 9)


@pytest.mark.parametrize(
    ("windows", "n", "cell", "said"),
    [
        ([], 9, None, "1 to 12 layers"),
        ([Window(1)] * 13, 9, None, "1 to 12 layers"),
        ([Window(3)], 65, None, "at most 64 cells"),
        ([Window(3)], 2, None, "every layer must have an output"),
        ([Window(3)], 9, 7, "cell 7 of 7"),
    ],
)
def test_stacks_that_cannot_be_drawn(
    windows: list[Window], n: int, cell: int | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        field_figure(windows, n, cell)


def pair(op: str, keras: dict[str, object], torch: dict[str, object]) -> list[Layer]:
    return [
        Layer.of("keras", op, rank=1, **keras),  # type: ignore[arg-type]
        Layer.of("torch", op, rank=1, **torch),  # type: ignore[arg-type]
    ]


def values_of(figure_text: str, key: str) -> list[list[str]]:
    """The output rows of a comparison, one list a dialect, in the order drawn."""
    rows: list[list[str]] = []
    for element in ET.fromstring(figure_text).iter():
        if (element.get("data-k") or "").startswith(key):
            if (element.get("data-k") or "").endswith(" 0"):
                rows.append([])
            rows[-1].append(element.text or "")
    return rows


def test_transposed_same_gives_the_numbers_that_keras_and_pytorch_give() -> None:
    figure = compare_dialects(
        pair("transposed", {"kernel": 3, "stride": 2, "padding": "same"},
             {"kernel": 3, "stride": 2, "padding": 1, "output_padding": 1}),
        (3,), values="1,2,3", weights="1,2,3",
    )  # fmt: skip
    assert values_of(figure.svg(), "result y 0 0 ") == [
        ["1", "2", "5", "4", "9", "6"], ["2", "5", "4", "9", "6", "9"],
    ]  # fmt: skip
    assert "6 of 6 output cells" in figure.description


@pytest.mark.parametrize("n", [5, 6])
def test_only_cells_that_read_something_else_are_set_off(n: int) -> None:
    layers_ = pair("conv", {"kernel": 3, "stride": 2, "padding": "same"},
                   {"kernel": 3, "stride": 2, "padding": 1})  # fmt: skip
    figure = compare_dialects(layers_, (n,))
    windows = [made.windows((n,))[0] for made in layers_]
    expected = {o for o in range(3) if windows[0].taps(o, n) != windows[1].taps(o, n)}
    assert (
        {k[2] for k in numbers(figure, "differs ")} == expected == ({0, 1, 2} if n == 6 else set())
    )


def test_an_average_that_divides_by_another_number_is_set_off() -> None:
    layers_ = pair("avg_pool", {"kernel": 3, "stride": 1, "padding": "same"},
                   {"kernel": 3, "stride": 1, "padding": 1})  # fmt: skip
    figure = compare_dialects(layers_, (5,))
    assert {k[2] for k in numbers(figure, "differs ")} == {0, 4}


def test_a_comparison_needs_comparable_layers() -> None:
    conv, pool = (Layer.of("keras", op, 3, rank=1) for op in ("conv", "max_pool"))
    for layers_, said in (([conv], "2 to 4"), ([conv, pool], "one operation"),
                          ([conv, Layer.of("torch", "conv", 3, rank=1, in_channels=2)],
                           "one channel")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            compare_dialects(layers_, (9,))


def test_a_chart_tells_the_network_s_own_sizes_and_fields() -> None:
    b = Builder("net <b>")
    x = b.input("image", (1, 3, 40, 24))
    fields = []
    chain: list[Window] = []
    for k, s, p in ((7, 2, 3), (3, 1, 1), (3, 2, 1)):
        window = Window(k, s, padding=(p, p))
        x = b.conv(f"k{k}s{s}", x, (window, window), axes=(2, 3), channel_axis=1, out_channels=4)
        chain.append(window)
        fields.append(Field.of(*chain).size)
    figure = network_figure(b.network([x]))
    keys = list(keyed(figure))
    assert [k for k in keys if k.startswith("size ")] == ["size 20", "size 10"]
    assert [int(k.split()[1]) for k in keys if k.startswith("field ")] == fields == [7, 11, 15]
    assert "net &lt;b&gt;" in figure.svg()


def test_a_network_without_windows_has_no_chart() -> None:
    b = Builder("flat")
    with pytest.raises(InputError, match="layers that slide a window"):
        network_figure(b.network([b.input("x", (1, 4))]))


def floats(prefix: str, found: dict[str, str]) -> list[float]:
    return [float(text.replace("−", "-")) for key, text in found.items() if re.match(prefix, key)]


@pytest.mark.parametrize("text", ["1,10,3;3,14,3;5,10,0;7,6,2", "-1.5,2;4,8;0.25,1"])
def test_batch_normalization_is_the_formula_in_floating_point(text: str) -> None:
    figure = batch_norm_figure(text, gamma="2", beta="1", epsilon="0.1")
    x = [[float(v) for v in row] for row in parse(text)[0]]
    found = keyed(figure)
    for c in range(len(x[0])):
        column = [row[c] for row in x]
        mean = sum(column) / len(column)
        variance = sum((v - mean) ** 2 for v in column) / len(column)
        assert floats(rf"mean {c}$", found) == [pytest.approx(mean, abs=0.00501)]
        assert floats(rf"variance {c}$", found) == [pytest.approx(variance, abs=0.00501)]
        normal = [(v - mean) / (variance + 0.1) ** 0.5 for v in column]
        assert floats(rf"normal \d+ {c}$", found) == pytest.approx(normal, abs=0.00501)
        assert floats(rf"y \d+ {c}$", found) == pytest.approx(
            [2 * v + 1 for v in normal], abs=0.00501
        )


def test_batch_normalization_shows_one_step_more_each_frame() -> None:
    figure = batch_norm_figure()
    seen = [{getattr(s, "key", "").split(" ")[0] for s in f.shapes} for f in figure.frames]
    new = [seen[i] - seen[i - 1] - {"formula"} for i in range(1, 5)]
    assert new == [{"mean"}, {"variance"}, {"normal"}, {"y", "gamma", "beta"}]
    assert figure.frames[-1] == figure.scene
    assert EXAMPLE[0][0] == Fraction(1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": "1,2;1,3", "epsilon": 0}, "variance \\+ epsilon must be positive"),
        ({"batch": "1;2", "epsilon": "much"}, "epsilon must be a number"),
        ({"batch": "1;2", "epsilon": -1}, "epsilon must be a number"),
        ({"batch": ";".join("1" * 13)}, "up to 12 samples"),
        ({"batch": "1,2;3"}, "as many numbers"),
        ({"batch": "1|2"}, "one table"),
        ({"batch": "1;2", "gamma": "1,2"}, "gamma needs one number a feature"),
        ({"step": 5}, "one of the five"),
    ],
)
def test_batches_that_cannot_be_drawn(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        batch_norm_figure(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 41}, "at most 40 cells a side"),
        ({"size": (39, 41)}, "at most 40 cells a side"),
        ({"size": 2}, "must fit the padded input"),
        ({"size": 0}, "must fit the padded input"),
        ({"size": 5, "style": "pretty"}, "known: numbers, colours, plain"),
        ({"size": 5, "theme": "sepia"}, "known: auto, light, dark"),
        ({"size": 5, "transposed": "both"}, "known: spread, scatter"),
        ({"size": 5, "operation": "dense"}, "operation must be a known one"),
        ({"size": 5, "values": "1,2"}, "must be 1 of 5x5 numbers"),
        ({"size": 5, "values": "deckk"}, "known: deck, random"),
        ({"size": 5, "weights": "1,2;3"}, "as many numbers"),
        ({"size": 5, "weights": "a"}, "must be a number"),
        ({"size": 5, "step": 9}, "9 of 9"),
        ({"size": 5, "step": -1}, "-1 of 9"),
        ({"size": 5, "seconds": 0}, "0.02 to 60 seconds"),
        ({"size": (5, 5, 5)}, "one or two axes"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_way_out(
    options: dict[str, object], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        draw(Window(3), **options)  # type: ignore[arg-type]


def test_too_many_channels_are_refused_before_their_numbers_are_made() -> None:
    made = Layer.of("torch", "conv", 3, rank=2, in_channels=10**9, out_channels=10**9)
    with pytest.raises(InputError, match="at most 4096 cells"):
        draw(made, 8)


MODULES = [
    m.name
    for m in pkgutil.iter_modules(convscape.figures.__path__, "convscape.figures.")
    if not m.ispkg
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_examples_on_the_page_hold() -> None:
    page = Path(__file__).parent.parent / "docs" / "drawing.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.failed == 0
    assert result.attempted > 3
