"""Padding names and ceil_mode, against the definitions that frameworks document."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convscape.arithmetic import PADDING_NAMES, InputError, Window, ceiled, resolve
from convscape.arithmetic.dialects import window
from tests.strategies import sizes, small, windows

laws = settings(deadline=None, max_examples=300, derandomize=True)


@laws
@given(sizes, small(13), small(13), small(5))
def test_same_gives_the_rounded_up_quotient_with_the_least_padding(
    n: int, k: int, s: int, d: int
) -> None:
    w = resolve("same", n, k, s, d)
    low, high = w.padding
    assert w.output(n) == -(-n // s)
    assert 0 <= high - low <= 1, "the odd cell goes to the end"
    if low + high:
        assert Window(k, s, d, 1, (low, high - 1)).output(n) < w.output(n), "one less is too few"
    assert resolve("same_lower", n, k, s, d).padding == (high, low)


@laws
@given(sizes, small(13), small(13), small(5))
def test_the_other_names_keep_their_promise(n: int, k: int, s: int, d: int) -> None:
    extent = Window(k, s, d).extent
    assert resolve("valid", n, k, s, d).output(n) == Window(k, s, d).output(n)
    if extent % 2:
        assert resolve("half", n, k, 1, d).output(n) == n
        assert resolve("half", n, k, 1, d) == resolve("same", n, k, 1, d)
    else:
        assert resolve("half", n, k, 1, d).output(n) == n + 1
    full = resolve("full", n, k, 1, d)
    assert full.output(n) == n + extent - 1
    # Full is the largest padding in which every window still touches the input (when dense).
    if d == 1:
        assert all(any(t is not None for t in full.taps(o, n)) for o in range(full.output(n)))
        wider = Window(k, padding=(extent, extent))
        assert all(t is None for t in wider.taps(0, n))
    causal = resolve("causal", n, k, s, d)
    assert causal.output(n) == -(-n // s)
    for o in range(causal.output(n)):
        assert all(t is None or t <= o * s for t in causal.taps(o, n)), "nothing of the future"
        assert causal.taps(o, n)[-1] == o * s, "and the present"


def test_names_ignore_case_and_unknown_names_list_the_known() -> None:
    assert resolve("SAME", 5, 3) == resolve("same", 5, 3)
    with pytest.raises(InputError, match=", ".join(PADDING_NAMES)):
        resolve("sane", 5, 3)


@pytest.mark.parametrize("n", [None, 5.0, "5"])
def test_same_without_an_input_size_is_ambiguous(n: object) -> None:
    with pytest.raises(InputError, match="same padding and ceil_mode depend on it"):
        resolve("same", n, 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="same padding and ceil_mode depend on it"):
        window("keras", "conv", n, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("padding", [-1, (-1, 0), (0, -1)])
def test_negative_padding_is_refused(padding: int | tuple[int, int]) -> None:
    with pytest.raises(InputError, match="must not be negative"):
        resolve(padding, 5, 3)


@pytest.mark.parametrize("padding", [1.5, None, (1, 2, 3), ("same", 1)])
def test_padding_of_another_type_is_refused(padding: object) -> None:
    with pytest.raises(InputError, match="padding"):
        resolve(padding, 5, 3)  # type: ignore[arg-type]


@laws
@given(windows(spread=False), sizes)
def test_ceil_mode_rounds_up_and_drops_a_window_that_starts_beyond_the_input(
    w: Window, n: int
) -> None:
    low, high = w.padding
    room = n + low + high - w.extent
    assume(room >= 0)
    expected = -(-room // w.stride) + 1
    if (expected - 1) * w.stride >= n + low:  # the words of torch.nn.MaxPool2d
        expected -= 1
    c = ceiled(w, n)
    assert c.output(n) == max(expected, w.output(n))
    assert c.start(c.output(n) - 1) < n or c == w
    assert c.padding[0] == low
    assert c.padding[1] >= high


@laws
@given(windows(spread=False), st.integers(0, 20))
def test_ceil_mode_changes_nothing_where_the_stride_divides(w: Window, o: int) -> None:
    n = (o * w.stride + w.extent) - sum(w.padding)
    assume(n > 0)
    assert ceiled(w, n) == w
