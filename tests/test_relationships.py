"""The fifteen relationships: recognised, evaluated, and equal to the window's own arithmetic."""

from math import ceil, floor

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convscape.arithmetic import InputError, Window, resolve, transposed_window
from convscape.arithmetic.explain import Explanation, explain
from convscape.arithmetic.operations import OPERATIONS
from convscape.arithmetic.relationships import RELATIONSHIPS
from tests.strategies import sizes, small, windows

laws = settings(deadline=None, max_examples=400, derandomize=True)


def printed_value(e: Explanation) -> int:
    """What the printed line of numbers really comes to."""
    left, numbers, *value = e.substituted.split(" = ")
    assert left == "o"
    assert value == ([] if numbers == str(e.output) else [str(e.output)])
    return int(eval(numbers, {"floor": floor, "ceil": ceil, "min": min}))


@laws
@given(windows(crop=True), sizes, st.sampled_from(OPERATIONS), st.booleans())
def test_every_window_is_explained_with_its_true_size(
    w: Window, n: int, op: str, rounded: bool
) -> None:
    rounded = rounded and op.endswith("pool") and w.input_dilation == 1
    if op == "transposed":
        w = Window(w.kernel, 1, w.dilation, w.input_dilation, w.padding)
    try:
        e = explain(w, n, op, ceil_mode=rounded)
    except InputError:
        assert w.output(n) == 0
        return
    assert e.output == e.window.output(n) == printed_value(e)
    assert w.output(n) <= e.output


@laws
@given(sizes, small(9), small(5), st.integers(0, 12), small(4))
def test_the_number_follows_from_the_setting(i: int, k: int, s: int, p: int, d: int) -> None:
    w = Window(k, s, d, 1, (p, p))
    assume(w.output(i))
    number = explain(w, i).relationship.number
    if d > 1 and k > 1:
        assert number == 15
    elif s > 1:
        assert number == (6 if p else 5)
    else:
        half = k % 2 == 1 and p == k // 2
        assert number == (1 if p == 0 else 3 if half else 4 if p == k - 1 else 2)
    plain = p == 0 and (d == 1 or k == 1)
    assert explain(w, i, "max_pool").relationship.number == (7 if plain else None)


@laws
@given(sizes, small(9), small(5), st.integers(0, 8))
def test_transposed_relationships_restore_what_a_convolution_took(
    i: int, k: int, s: int, p: int
) -> None:
    forward = Window(k, s, padding=(p, p))
    o = forward.output(i)
    assume(o and p <= k - 1)
    extra = (i + 2 * p - k) % s
    e = explain(transposed_window(k, s, 1, (p, p), extra), o, "transposed")
    assert e.window == forward.adjoint(i)
    assert e.output == i == printed_value(e)
    if s == 1:
        half = k % 2 == 1 and p == k // 2
        expected = 8 if p == 0 else 10 if half else 11 if p == k - 1 else 9
    else:
        expected = 14 if extra else 13 if p else 12
    assert e.relationship.number == expected


# The settings of the guide's own figures (its sections 2 to 5) and the slides'.
@pytest.mark.parametrize(
    ("number", "i", "k", "s", "p", "o"),
    [(1, 4, 3, 1, 0, 2), (2, 5, 4, 1, 2, 6), (3, 5, 3, 1, 1, 5), (4, 5, 3, 1, 2, 7),
     (5, 5, 3, 2, 0, 2), (6, 5, 3, 2, 1, 3), (6, 6, 3, 2, 1, 3)],
)  # fmt: skip
def test_convolutions_in_the_guides_figures(
    number: int, i: int, k: int, s: int, p: int, o: int
) -> None:
    e = explain(Window(k, s, padding=(p, p)), i)
    assert (e.relationship.number, e.output) == (number, o)


@pytest.mark.parametrize(
    ("number", "i", "k", "s", "p", "a", "o"),
    [(8, 2, 3, 1, 0, 0, 4), (9, 6, 4, 1, 2, 0, 5), (10, 5, 3, 1, 1, 0, 5), (11, 7, 3, 1, 2, 0, 5),
     (12, 2, 3, 2, 0, 0, 5), (13, 3, 3, 2, 1, 0, 5), (14, 3, 3, 2, 1, 1, 6)],
)  # fmt: skip
def test_transposed_convolutions_in_the_guides_figures(
    number: int, i: int, k: int, s: int, p: int, a: int, o: int
) -> None:
    e = explain(transposed_window(k, s, 1, (p, p), a), i, "transposed")
    assert (e.relationship.number, e.output) == (number, o)


def test_pooling_and_dilation_in_the_guides_figures() -> None:
    pooled = explain(Window(3), 5, "avg_pool")
    assert (pooled.relationship.number, pooled.output) == (7, 3)
    dilated = explain(Window(3, dilation=2), 7)
    assert (dilated.relationship.number, dilated.output) == (15, 3)


def test_the_table_is_complete_and_prints_textbook_formulas() -> None:
    assert list(RELATIONSHIPS) == list(range(1, 16))
    assert str(RELATIONSHIPS[6]) == "o = floor((i + 2p - k) / s) + 1"
    assert str(RELATIONSHIPS[15]) == "o = floor((i + 2p - k - (k - 1)(d - 1)) / s) + 1"


@pytest.mark.parametrize(
    ("explanation", "note"),
    [
        (explain(Window(3, 2), 6), "no window reads 1 input cell at the end"),
        (explain(Window(3, 2, padding=(1, 1)), 6), "high end: 1 padding cell never read"),
        (explain(Window(3, 2, padding=(1, 1)), 5), "high end: 1 padding cell read"),
        (explain(Window(1, 2), 5), "2 input cells in between (the stride exceeds the kernel)"),
        (explain(Window(3, 2, 2), 9), "input cells in between (stride and dilation)"),
        (explain(resolve("causal", 5, 3), 5), "causal: no window reads beyond its own position"),
        (explain(Window(3, padding=(1, 1)), 1), "2 kernel cells of 3 never meet the input"),
        (explain(Window(1, padding=(1, 1)), 3), "2 windows of 5 lie in the padding alone"),
        (explain(transposed_window(3, 2), 4, "transposed"), "take turns at 1 and 2 inputs"),
        (explain(transposed_window(1, 2), 4, "transposed"), "take turns at 0 and 1 inputs"),
        (explain(transposed_window(3, 1), 4, "transposed"), "padding 2, 2 over the input"),
        (
            explain(Window(2, 2), 5, "max_pool", ceil_mode=True),
            "ceil_mode: the last window overhangs the end by 1 cell",
        ),
        (explain(Window(3, padding=(-1, 0)), 7), "1 input cell cropped at the start"),
    ],
)
def test_notes_say_what_happens_at_the_border(explanation: Explanation, note: str) -> None:
    assert any(note in line for line in explanation.notes), explanation.notes


def test_a_plain_setting_needs_no_notes() -> None:
    assert explain(Window(3), 5).notes == ()


def test_an_empty_output_and_an_unknown_operation_are_refused() -> None:
    with pytest.raises(InputError, match="must fit the padded input"):
        explain(Window(4), 3)
    with pytest.raises(InputError, match="known operations: conv, transposed"):
        explain(Window(3), 5, "convolve")
    with pytest.raises(InputError, match="option of pooling"):
        explain(Window(2, 2), 5, "conv", ceil_mode=True)
