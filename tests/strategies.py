"""Hypothesis strategies shared by the tests of the arithmetic."""

from hypothesis import strategies as st

from convscape.arithmetic import Window

PRIMES_AND_POWERS = (1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 31, 32, 97)


def small(high: int) -> st.SearchStrategy[int]:
    """Positive numbers, with a leaning to primes and powers of two."""
    return st.integers(1, high) | st.sampled_from([v for v in PRIMES_AND_POWERS if v <= high])


@st.composite
def windows(
    draw: st.DrawFn, *, spread: bool = True, crop: bool = False, largest: int = 13
) -> Window:
    """Any window: stride above the kernel, asymmetric padding, dilation, spread input, crops."""
    least = -5 if crop else 0
    return Window(
        kernel=draw(small(largest)),
        stride=draw(small(largest)),
        dilation=draw(small(5)),
        input_dilation=draw(small(5)) if spread else 1,
        padding=(draw(st.integers(least, 2 * largest)), draw(st.integers(least, 2 * largest))),
    )


sizes = small(60) | st.integers(1, 60)
