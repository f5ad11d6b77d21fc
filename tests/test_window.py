"""The laws of Window, each against the definition: the positions that a window reads."""

from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convscape.arithmetic import InputError, Window
from tests.strategies import sizes, windows

laws = settings(deadline=None, max_examples=300, derandomize=True)


def slid(w: Window, n: int) -> list[list[int | None]]:
    """The taps by the definition: build the padded line of cells, then slide over it."""
    line: list[int | None] = []
    for cell in range(n):
        line += ([None] * (w.input_dilation - 1) if cell else []) + [cell]
    low, high = w.padding
    line = [*([None] * low), *line[max(0, -low) :]]
    line = [*line, *([None] * high)] if high >= 0 else line[:high]
    starts = range(0, len(line) - w.extent + 1, w.stride)
    return [line[t : t + w.extent : w.dilation] for t in starts]


def correlate(w: Window, x: list[int], kernel: list[int]) -> list[int]:
    return [
        sum(x[cell] * kernel[k] for k, cell in enumerate(w.taps(o, len(x))) if cell is not None)
        for o in range(w.output(len(x)))
    ]


@laws
@given(windows(crop=True), sizes)
def test_output_and_taps_are_those_of_sliding_over_the_padded_line(w: Window, n: int) -> None:
    drawn = slid(w, n)
    assert w.output(n) == len(drawn)
    assert [list(w.taps(o, n)) for o in range(len(drawn))] == drawn


@laws
@given(windows(crop=True), st.integers(0, 40))
def test_inputs_are_exactly_the_sizes_that_give_the_output(w: Window, o: int) -> None:
    limit = (o * w.stride + w.extent + 20) // w.input_dilation + 12
    assert [n for n in w.inputs(o) if n < limit] == [n for n in range(limit) if w.output(n) == o]
    assert not w.inputs(o) or w.inputs(o)[-1] < limit, "the search above would have missed some"


@laws
@given(windows(crop=True), sizes)
def test_slack_is_what_lies_beyond_the_last_window(w: Window, n: int) -> None:
    positions = (n - 1) * w.input_dilation + 1 + sum(w.padding)
    o = w.output(n)
    last = (o - 1) * w.stride + w.extent if o else 0
    assert w.slack(n) == max(0, positions - last)


@laws
@given(windows(crop=True), sizes)
def test_unread_is_what_no_window_reads(w: Window, n: int) -> None:
    read = {cell for taps in slid(w, n) for cell in taps}
    assert w.unread(n) == tuple(cell for cell in range(n) if cell not in read)


@laws
@given(windows(), sizes)
def test_adjoint_restores_the_size_with_the_taps_read_backwards(w: Window, n: int) -> None:
    m = w.output(n)
    assume(m > 0)
    back = w.adjoint(n)
    assert back.output(m) == n
    forward = {(o, cell, k) for o in range(m) for k, cell in enumerate(w.taps(o, n))}
    backward = {
        (o, cell, w.kernel - 1 - k)
        for cell in range(n)
        for k, o in enumerate(back.taps(cell, m))
        if o is not None
    }
    assert {link for link in forward if link[1] is not None} == backward


@laws
@given(windows(), sizes)
def test_adjoint_twice_reads_the_same_cells(w: Window, n: int) -> None:
    m = w.output(n)
    assume(m > 0)
    twice = w.adjoint(n).adjoint(m)
    assert twice.output(n) == m
    assert [twice.taps(o, n) for o in range(m)] == [w.taps(o, n) for o in range(m)]


@laws
@given(windows(), sizes, st.randoms(use_true_random=False))
def test_weight_window_correlates_input_with_the_output_gradient(
    w: Window, n: int, random: Random
) -> None:
    m = w.output(n)
    assume(m > 0)
    x = [random.randint(-9, 9) for _ in range(n)]
    dy = [random.randint(-9, 9) for _ in range(m)]
    expected = [0] * w.kernel
    for o in range(m):
        for k, cell in enumerate(w.taps(o, n)):
            expected[k] += dy[o] * x[cell] if cell is not None else 0
    g = w.weight(n)
    assert (g.kernel, g.stride, g.dilation) == (m, w.dilation, w.stride)
    assert correlate(g, x, dy) == expected


@laws
@given(windows(spread=False), windows(spread=False), st.integers(1, 400))
def test_then_gives_the_size_of_the_stack(a: Window, b: Window, n: int) -> None:
    middle = a.output(n)
    assume(middle > 0)
    assert a.then(b).output(n) == b.output(middle)


@laws
@given(windows(spread=False), windows(spread=False), windows(spread=False))
def test_then_is_associative_and_has_an_identity(a: Window, b: Window, c: Window) -> None:
    assert a.then(b).then(c) == a.then(b.then(c))
    # Composition keeps the hull, so the identity holds for dense windows.
    dense = Window(a.extent, a.stride, padding=a.padding)
    assert Window(1).then(a) == dense == a.then(Window(1))


@laws
@given(windows(spread=False, largest=5), windows(spread=False, largest=5), st.integers(1, 60))
def test_then_covers_what_the_stack_reads(a: Window, b: Window, n: int) -> None:
    middle = a.output(n)
    assume(middle > 0)
    stack = a.then(b)
    for o in range(b.output(middle)):
        inner = [t for t in b.taps(o, middle) if t is not None]
        read = {cell for t in inner for cell in a.taps(t, n) if cell is not None}
        hull = range(stack.start(o), stack.start(o) + stack.kernel)
        assert read <= set(hull)
        if b.dilation == a.dilation == 1 and len(inner) == b.kernel and b.stride <= a.extent:
            assert min(hull) == a.start(min(inner))
            assert max(hull) == a.start(max(inner)) + a.extent - 1


def test_then_refuses_a_spread_input() -> None:
    with pytest.raises(InputError, match="input_dilation 1 compose"):
        Window(3).then(Window(3, input_dilation=2))


@pytest.mark.parametrize("name", ["kernel", "stride", "dilation", "input_dilation"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None])
def test_fields_are_positive_integers(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        Window(**({"kernel": 3} | {name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize("padding", [1, (1,), (1, 2, 3), (0.5, 1), "same", None])
def test_padding_is_a_pair_of_integers(padding: object) -> None:
    with pytest.raises(InputError, match="padding"):
        Window(3, padding=padding)  # type: ignore[arg-type]


def test_integers_of_other_libraries_become_ours() -> None:
    numpy = pytest.importorskip("numpy")
    w = Window(numpy.int64(3), padding=(numpy.int32(1), True))
    assert w == Window(3, padding=(1, 1))
    assert {type(v) for v in (w.kernel, w.stride, *w.padding)} == {int}


@pytest.mark.parametrize("derive", [Window.adjoint, Window.weight])
def test_no_window_is_derived_from_an_empty_output(derive: object) -> None:
    assert Window(7).output(6) == 0
    with pytest.raises(InputError, match="must fit the padded input"):
        derive(Window(7), 6)  # type: ignore[operator]


def test_an_empty_input_has_an_empty_output_whatever_the_padding() -> None:
    assert Window(1, padding=(5, 5)).output(0) == 0
    assert 0 in Window(1, padding=(5, 5)).inputs(0)


def test_windows_are_values() -> None:
    assert len({Window(3, padding=(1, 1)), Window(3, padding=[1, 1])}) == 1  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        Window(3).kernel = 5  # type: ignore[misc]
