"""Every number and every hatched cell in a figure is what `arithmetic` says."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from fractions import Fraction
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscape.arithmetic import Window, transposed_window
from convscape.arithmetic.dialects import Layer
from convscape.figures import Figure, draw
from convscape.figures.numbers import written
from convscape.figures.problem import walk_of
from tests.test_deck_sizes import INPUT, KERNEL

SVG = "{http://www.w3.org/2000/svg}"


def keyed(figure: Figure) -> dict[str, str]:
    """Everything in the drawing that stands for something: its key, and its text if it has any."""
    found: dict[str, str] = {}
    for element in ET.fromstring(figure.svg()).iter():
        key = element.get("data-k")
        if key is not None and key != "sum":
            found[key] = element.text or ""
    return found


def numbers(figure: Figure, prefix: str) -> dict[tuple[int, ...], str]:
    """The texts whose keys begin so, by the numbers in their keys."""
    return {
        tuple(map(int, key.removeprefix(prefix).split())): text
        for key, text in keyed(figure).items()
        if key.startswith(prefix)
    }


def layer(
    op: str, kernel: object, stride: object = 1, padding: object = 0, **more: object
) -> Layer:
    rank = more.pop("rank", 2)
    return Layer.of("convscape", op, kernel, stride, padding, rank=rank, **more)  # type: ignore[arg-type]


windows = st.builds(
    Window,
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    input_dilation=st.integers(1, 3),
    padding=st.tuples(st.integers(-1, 3), st.integers(-1, 3)),
)


@st.composite
def drawn(draw_: st.DrawFn) -> tuple[list[Window], list[int], int]:
    """Two windows that fit their inputs, and a seed."""
    pair = [draw_(windows), draw_(windows)]
    sizes = []
    for w in pair:
        fitting = [n for n in range(1, 9) if 1 <= w.output(n) <= 12]
        if not fitting:
            pair = [Window(2), Window(3)]
            sizes = [4, 5]
            break
        sizes.append(draw_(st.sampled_from(fitting)))
    return pair, sizes, draw_(st.integers(0, 10**6))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(case=drawn())
def test_every_number_is_taps_times_values(case: tuple[list[Window], list[int], int]) -> None:
    from convscape.arithmetic import Geometry

    (rows, columns), (n, m), seed = case
    geometry = Geometry((rows, columns))
    options = {"operation": "conv", "values": "random", "weights": "random", "seed": seed}
    walk = walk_of(geometry, (n, m), operation_name="conv", values="random", weights="random",
                   seed=seed)  # fmt: skip
    x, weight = walk.x[0], walk.weights[0][0]
    outputs = rows.output(n), columns.output(m)
    results = {}
    for index in range(prod(outputs)):
        r, c = divmod(index, outputs[1])
        taps = {}
        total = Fraction(0)
        for a, y in enumerate(rows.taps(r, n)):
            for b, z in enumerate(columns.taps(c, m)):
                met = None if y is None or z is None else (y, z)
                taps[a, b] = met
                total += weight[a][b] * x[y][z] if y is not None and z is not None else 0
        results[r, c] = total
        if index not in (0, prod(outputs) - 1):
            continue
        figure = draw(geometry, (n, m), step=index, animate=False, **options)  # type: ignore[arg-type]
        found = keyed(figure)
        subscripts = {k: t for k, t in found.items() if k.startswith("tap ")}
        assert subscripts == {
            f"tap 0 {a} {b} on {f'{met[0]} {met[1]}' if met else 'zero'}": written(weight[a][b])
            for (a, b), met in taps.items()
        }
        assert found["total"] == f"= {written(total)}"
        shown = numbers(figure, "result y ")
        assert shown == {(0, *at): written(v) for at, v in results.items() if
                         at[0] * outputs[1] + at[1] <= index} or index == 0  # fmt: skip
    figure = draw(geometry, (n, m), animate=False, **options)  # type: ignore[arg-type]
    assert numbers(figure, "result y ") == {(0, *at): written(v) for at, v in results.items()}
    assert numbers(figure, "value x ") == {
        (0, y, z): written(x[y][z]) for y in range(n) for z in range(m)
    }


@settings(deadline=None, max_examples=60, derandomize=True)
@given(case=drawn())
def test_hatched_cells_are_those_that_no_window_reads(
    case: tuple[list[Window], list[int], int],
) -> None:
    from convscape.arithmetic import Geometry

    (rows, columns), (n, m), _ = case
    figure = draw(Geometry((rows, columns)), (n, m), operation="conv", animate=False)
    dead_rows, dead_columns = rows.unread(n), columns.unread(m)
    assert set(numbers(figure, "unread ")) == {
        (0, r, c) for r in range(n) for c in range(m) if r in dead_rows or c in dead_columns
    }


@pytest.mark.parametrize("size", [(5, 5), (6, 4)])
def test_padding_and_gaps_lie_where_the_window_puts_them(size: tuple[int, int]) -> None:
    w = Window(3, 1, 1, 2, (2, 1))
    figure = draw(w, size, operation="conv", animate=False)
    ends = [(n - 1) * 2 + 1 for n in size]
    everything = {(r, c) for r in range(-2, ends[0] + 1) for c in range(-2, ends[1] + 1)}
    cells = {(2 * r, 2 * c) for r in range(size[0]) for c in range(size[1])}
    inside = {(r, c) for r in range(ends[0]) for c in range(ends[1])}
    assert set(numbers(figure, "gap ")) == {(0, r, c) for r, c in inside - cells}
    assert set(numbers(figure, "pad ")) == {(0, r, c) for r, c in everything - inside}


def grid_of(figure: Figure, prefix: str, rows: int, columns: int) -> list[list[str]]:
    found = numbers(figure, prefix)
    return [[found[0, r, c] for c in range(columns)] for r in range(rows)]


def as_text(rows: Sequence[Sequence[int]]) -> list[list[str]]:
    return [[str(v) for v in row] for row in rows]


@pytest.mark.parametrize(
    ("op", "stride", "padding", "expected"),
    [
        ("conv", 1, 0, [[12, 12, 17], [10, 17, 19], [9, 6, 14]]),
        ("conv", 2, 1, [[6, 17, 3], [8, 17, 13], [6, 4, 4]]),
        ("max_pool", 1, 0, [[3, 3, 3], [3, 3, 3], [3, 2, 3]]),
        ("avg_pool", 1, 0, [[1.7, 1.7, 1.7], ["1.0", 1.2, 1.8], [1.1, 0.8, 1.3]]),
    ],
)
def test_the_slides_numbers(op: str, stride: int, padding: int, expected: list[list[int]]) -> None:
    figure = draw(layer(op, 3, stride, padding), 5)
    assert grid_of(figure, "result y ", 3, 3) == as_text(expected)
    assert grid_of(figure, "value x ", 5, 5) == as_text(INPUT)
    if op == "conv":
        assert [[numbers(figure, "weight w ")[0, 0, r, c] for c in range(3)] for r in range(3)] == (
            as_text(KERNEL)
        )
    assert len(figure.frames) == 9


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra", "dilation"),
    [(3, 1, 0, 0, 1), (3, 2, 1, 0, 1), (3, 2, 1, 1, 1), (4, 2, 1, 0, 1), (2, 3, 0, 0, 1),
     (3, 2, 1, 0, 2)],
)  # fmt: skip
def test_scattering_and_spreading_give_the_same_output(
    kernel: int, stride: int, padding: int, extra: int, dilation: int
) -> None:
    made = layer("transposed", kernel, stride, padding, dilation=dilation, output_padding=extra)
    options = {"values": "random", "weights": "random", "seed": 5}
    spread = draw(made, (3, 4), **options)  # type: ignore[arg-type]
    scatter = draw(made, (3, 4), transposed="scatter", **options)  # type: ignore[arg-type]
    window = transposed_window(kernel, stride, dilation, (padding, padding), extra)
    height, width = window.output(3), window.output(4)
    assert grid_of(spread, "result y ", height, width) == grid_of(
        scatter, "total y ", height, width
    )
    assert len(scatter.frames) == 12
    assert len(spread.frames) == height * width


def test_scattering_is_the_definition_of_a_transposed_convolution() -> None:
    made = layer("transposed", 3, 2, 1)
    figure = draw(made, 3, transposed="scatter")
    total = [[0] * 7 for _ in range(7)]
    for y in range(3):
        for x in range(3):
            for r in range(3):
                for c in range(3):
                    total[2 * y + r][2 * x + c] += INPUT[y][x] * KERNEL[r][c]
    assert grid_of(figure, "total y ", 5, 5) == as_text([row[1:6] for row in total[1:6]])


def test_groups_read_their_own_channels_alone() -> None:
    made = layer("conv", 2, in_channels=4, out_channels=2, groups=2)
    walk = walk_of(made, (3, 3))
    figure = draw(made, (3, 3), step=4)  # the first window of output channel 1
    read = {int(key.split()[1]) for key in keyed(figure) if key.startswith("tap ")}
    assert read == {2, 3}
    expected = sum(
        walk.x[c][r][q] * walk.weights[1][c - 2][r][q]
        for c in (2, 3) for r in (0, 1) for q in (0, 1)
    )  # fmt: skip
    assert numbers(figure, "result y ")[1, 0, 0] == written(expected)


@pytest.mark.parametrize(("count", "expected"), [(True, "0.7"), (False, "1.5")])
def test_an_average_divides_by_what_the_dialect_counts(count: bool, expected: str) -> None:
    made = layer("avg_pool", 3, 1, 1, count_include_pad=count)
    figure = draw(made, 5, step=0)
    # The corner sees 3, 3, 0, 0: six over nine, or over the four real cells.
    assert numbers(figure, "result y ")[0, 0, 0] == expected
    assert keyed(figure)["total"].startswith(f"= 6 / {9 if count else 4}")


def test_padding_of_max_pooling_never_wins() -> None:
    figure = draw(layer("max_pool", 2, 2, 1), 2, values="-1,-2;-3,-4", animate=False)
    assert numbers(figure, "result y ") == {
        (0, 0, 0): "−1", (0, 0, 1): "−2", (0, 1, 0): "−3", (0, 1, 1): "−4",
    }  # fmt: skip


def test_the_overhang_of_ceil_mode_is_drawn_without_zeros() -> None:
    plain = ET.fromstring(draw(layer("avg_pool", 2, 2), 5, animate=False).svg())
    ceiled = ET.fromstring(draw(layer("avg_pool", 2, 2, ceil_mode=True), 5, animate=False).svg())

    def zeros(root: ET.Element) -> int:
        return sum(t.text == "0" and t.get("class") == "f-muted" for t in root.iter(f"{SVG}text"))

    assert sum((e.get("data-k") or "").startswith("pad ") for e in ceiled.iter()) == 11
    assert zeros(ceiled) == zeros(plain) == 0


def test_one_axis_has_one_row() -> None:
    figure = draw(layer("conv", 3, 2, 1, rank=1), (7,), weights="1,10,100")
    x = INPUT[0] + INPUT[0][:2]
    padded = [0, *x, 0]
    expected = [padded[i] + 10 * padded[i + 1] + 100 * padded[i + 2] for i in (0, 2, 4, 6)]
    assert grid_of(figure, "result y ", 1, 4) == [[str(v) for v in expected]]


@pytest.mark.parametrize(
    ("text", "shown"), [("1.5", "1.5"), ("-2", "−2"), ("0.125", "0.13"), ("7", "7")]
)
def test_numbers_are_written_exactly_or_said_to_be_rounded(text: str, shown: str) -> None:
    figure = draw(layer("conv", 1), 1, values=text, weights="1")
    assert numbers(figure, "result y ")[0, 0, 0] == shown
    sign = "≈" if shown == "0.13" else "="
    assert keyed(figure)["total"] == f"{sign} {shown}"


def test_the_table_of_sizes_is_the_explanation_of_each_axis() -> None:
    figure = draw(layer("conv", (3, 2), (2, 1), ((1, 1), (0, 1))), (5, 4))
    sizes = {k: v for k, v in keyed(figure).items() if k.startswith("size ")}
    assert [sizes[f"size {letter} 0"] for letter in "ikspo"] == ["5", "3", "2", "1", "3"]
    assert [sizes[f"size {letter} 1"] for letter in "ikspo"] == ["4", "2", "1", "0,1", "4"]
