"""Arrays in one block of memory lie over each other only where they live at different times."""

from hypothesis import given
from hypothesis import strategies as st

from convscape.kernels.cpu.arena import Life, arrange


@st.composite
def lives(draw: st.DrawFn) -> Life:
    begin = draw(st.integers(0, 20))
    end = draw(st.none() | st.integers(begin + 1, 24))
    return Life(64 * draw(st.integers(1, 9)), begin, end)


@given(st.lists(lives(), max_size=14))
def test_what_lives_at_one_time_lies_apart_and_the_block_holds_all(given: list[Life]) -> None:
    offsets, size = arrange(given)
    runs = [
        (at, at + a.size, a.begin, 99 if a.end is None else a.end)
        for at, a in zip(offsets, given, strict=True)
    ]
    for i, (low, high, begin, end) in enumerate(runs):
        assert 0 <= low < high <= size
        for other_low, other_high, other_begin, other_end in runs[:i]:
            together = begin < other_end and other_begin < end
            assert not (together and low < other_high and other_low < high)
    at_once = [sum(a.size for a, r in zip(given, runs, strict=True) if r[2] <= t < r[3])
               for t in range(99)]  # fmt: skip
    assert max(at_once, default=0) <= size <= sum(a.size for a in given)


def test_a_chain_takes_as_much_as_its_two_largest_neighbours() -> None:
    sizes = [64, 320, 128, 256, 512, 192, 64]
    chain = [Life(size, i, i + 2) for i, size in enumerate(sizes)]
    assert arrange(chain)[1] == 512 + 256
