"""The border's account, against walking over every window."""

from hypothesis import given, settings
from hypothesis import strategies as st

from convscape.arithmetic import Window
from convscape.arithmetic.border import border
from tests.strategies import small, windows


@settings(deadline=None, max_examples=600, derandomize=True)
@given(windows(crop=True, largest=7), small(97) | st.integers(100, 400))
def test_border_counts_what_the_windows_read(w: Window, n: int) -> None:
    m, e, (low, high) = w.output(n), w.input_dilation, w.padding
    read = {o * w.stride + k * w.dilation for o in range(m) for k in range(w.kernel)}
    taps = [w.taps(o, n) for o in range(m)]
    b = border(w, n)

    assert b.unread == len(w.unread(n))
    end = low + (n - 1) * e + 1
    at_low = sum(t in read for t in range(max(0, low)))
    at_high = sum(t in read for t in range(end, end + max(0, high)))
    assert b.padding_read == (at_low, at_high)
    assert b.padding_unread == (max(0, low) - at_low, max(0, high) - at_high)
    assert b.idle == tuple(k for k in range(w.kernel) if all(t[k] is None for t in taps))
    assert b.blind == sum(all(cell is None for cell in t) for t in taps)
    if m:
        assert b.head == sum(c * e + low < 0 for c in range(n))
        assert b.tail == sum(c * e + low > max(read) for c in range(n) if c * e + low >= 0)


def test_a_huge_axis_is_counted_without_walking_over_it() -> None:
    n = 10**15 + 1
    assert border(Window(2, stride=7), n).unread == n // 7 * 5
    assert border(Window(3, 4, 2), n).skipped == n // 2
    assert border(Window(1, padding=(10**15, 0)), 5).padding_read == (10**15, 0)
