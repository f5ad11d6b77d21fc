"""Receptive fields against the gradients of real networks, to the cell."""

from collections.abc import Iterator
from fractions import Fraction

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from convscape.arithmetic import InputError, Window
from convscape.arithmetic.field import Field, back, bits, read_cells, smear


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """These tensors are too small to share out among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


LAW = settings(deadline=None, derandomize=True, max_examples=400)

forward = st.builds(
    Window,
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
spread = st.builds(
    Window,
    kernel=st.integers(1, 4),
    stride=st.just(1),
    dilation=st.integers(1, 2),
    input_dilation=st.integers(2, 3),
    padding=st.tuples(st.integers(-1, 4), st.integers(-1, 4)),
)
chains = st.lists(forward | spread, min_size=1, max_size=4)


def run(window: Window, x: torch.Tensor) -> torch.Tensor:
    """The window as torch runs it, with ones as weights: its own transposed convolution too."""
    ones = torch.ones(1, 1, window.kernel, dtype=x.dtype)
    low, high = window.padding
    if window.input_dilation == 1:
        return F.conv1d(F.pad(x, (low, high)), ones, stride=window.stride, dilation=window.dilation)
    # Padding of the spread input, minus extent - 1, is what torch crops (or, negative, adds).
    full = F.conv_transpose1d(x, ones, stride=window.input_dilation, dilation=window.dilation)
    edge = window.extent - 1
    return F.pad(full, (low - edge, high - edge))


def sizes(chain: list[Window], n: int) -> list[int]:
    out = [n]
    for window in chain:
        out.append(window.output(out[-1]))
    return out


def measured(chain: list[Window], n: int) -> list[tuple[int, ...]]:
    """For each output cell, the input cells with a gradient: one backward pass for all of them."""
    m = sizes(chain, n)[-1]
    x = torch.zeros(m, 1, n, dtype=torch.float64, requires_grad=True)
    y = x
    for window in chain:
        y = run(window, y)
    assert y.shape == (m, 1, m)
    (grad,) = torch.autograd.grad(y[:, 0].diagonal().sum(), x)
    return [tuple(row.nonzero().flatten().tolist()) for row in grad[:, 0]]


@LAW
@given(chains, st.integers(1, 24))
def test_cells_read_are_those_with_a_gradient(chain: list[Window], n: int) -> None:
    assume(min(sizes(chain, n)) > 0 and max(sizes(chain, n)) < 200)
    expected = measured(chain, n)
    for o, cells in enumerate(expected):
        assert read_cells(chain, n, o) == cells


@LAW
@given(chains)
def test_away_from_the_borders_a_field_is_what_is_read(chain: list[Window]) -> None:
    """On a long input, cells whose fields keep clear of every border equal the gradients."""
    field = Field.of(*chain)
    n = 3 * field.size + 60
    assume(min(sizes(chain, n)) > 0 and max(sizes(chain, n)) < 2500)
    clear = 0
    middle = n // 2
    for o in range(sizes(chain, n)[-1]):
        span = field.interval(o)
        if span and abs(sum(span) // 2 - middle) <= field.step:
            assert field.cells(o) == read_cells(chain, n, o)
            clear += 1
    assert clear or not any(field.masks)


@LAW
@given(st.lists(forward, min_size=1, max_size=5))
def test_the_hull_of_a_chain_folds_like_one_window(chain: list[Window]) -> None:
    stack = Window(1)
    for window in chain:
        stack = stack.then(window)
    field = Field.of(*chain)
    assert (field.size, int(field.jump)) == (stack.kernel, stack.stride)
    assert field.interval(0) == (-stack.padding[0], stack.kernel - 1 - stack.padding[0])


@LAW
@given(chains, chains)
def test_fields_of_a_longer_chain_continue_those_of_a_shorter(
    a: list[Window], b: list[Window]
) -> None:
    whole, part = Field.of(*a, *b), Field.of(*a)
    for window in b:
        part = part.then(window)
    assert whole == part


@LAW
@given(chains, chains, st.integers(1, 16))
def test_a_union_is_what_the_sum_of_two_branches_reads(
    a: list[Window], b: list[Window], o: int
) -> None:
    one, two = Field.of(*a), Field.of(*b)
    if one.jump != two.jump:
        with pytest.raises(InputError, match="same pace"):
            one.union(two)
        return
    both = one.union(two)
    assert set(both.cells(o)) == {*one.cells(o), *two.cells(o)}
    assert both.jump == one.jump
    assert both == two.union(one)


def test_branches_of_the_same_pace_are_the_gradient_of_their_sum() -> None:
    n = 40
    a = [Window(3, padding=(1, 1)), Window(3, stride=2, padding=(1, 1))]
    b = [Window(2, stride=2)]
    x = torch.zeros(20, 1, n, dtype=torch.float64, requires_grad=True)
    y = run(a[1], run(a[0], x)) + run(b[0], x)
    (grad,) = torch.autograd.grad(y[:, 0].diagonal().sum(), x)
    both = Field.of(*a).union(Field.of(*b))
    for o in range(2, 18):
        assert tuple(grad[o, 0].nonzero().flatten().tolist()) == both.cells(o)
    assert Field.of(*b).offset(Field.of(*a)) == Fraction(1, 2)


def test_dilations_with_a_common_factor_leave_holes() -> None:
    """Wang et al. 2018, figure 2: rates 2, 2, 2 read a quarter in 2-D; 1, 2, 3 read all of it."""
    gridded = Field.of(*(Window(3, dilation=2),) * 3)
    covered = Field.of(*(Window(3, dilation=d) for d in (1, 2, 3)))
    assert (gridded.size, gridded.holes) == (13, 6)
    assert (covered.size, covered.holes) == (13, 0)


def test_a_transposed_convolution_reads_unequal_numbers_of_cells() -> None:
    assert sorted(Field.of(Window(3, input_dilation=2, padding=(1, 1))).sizes) == [1, 2]
    assert Field.of(Window(4, input_dilation=2, padding=(2, 2))).sizes == (2, 2)
    skipped = Field.of(Window(1, input_dilation=2))
    assert skipped.interval(1) is None
    assert skipped.cells(2) == (1,)


def test_down_and_up_again_is_periodic_with_jump_one() -> None:
    field = Field.of(
        Window(3, stride=2, padding=(1, 1)), Window(4, input_dilation=2, padding=(2, 2))
    )
    assert field.jump == 1
    assert field.period == 2
    assert [field.interval(o) for o in (10, 11)] == [(7, 11), (9, 13)]


def test_known_networks_have_their_published_fields() -> None:
    """Araujo et al. 2019, table 1: AlexNet 195, VGG-16 212, both with jump 32 or 16."""
    c3 = Window(3, padding=(1, 1))
    pool = Window(2, stride=2)
    vgg = Field.of(
        *[c3] * 2, pool, *[c3] * 2, pool, *[c3] * 3, pool, *[c3] * 3, pool, *[c3] * 3, pool
    )
    assert (vgg.size, int(vgg.jump)) == (212, 32)
    alexnet = Field.of(
        Window(11, 4),
        Window(3, 2),
        Window(5, padding=(2, 2)),
        Window(3, 2),
        *[c3] * 3,
        Window(3, 2),
    )
    assert (alexnet.size, int(alexnet.jump)) == (195, 32)


@LAW
@given(forward | spread, st.integers(1, 30), st.data())
def test_going_back_is_the_union_of_the_taps(window: Window, n: int, data: st.DataObject) -> None:
    m = window.output(n)
    assume(m > 0)
    mask = data.draw(st.integers(0, (1 << m) - 1))
    expected = {c for o in bits(mask) for c in window.taps(o, n) if c is not None}
    assert set(bits(back(window, mask, n))) == expected


@LAW
@given(st.integers(1, 1 << 12), st.integers(1, 40), st.integers(1, 5))
def test_smearing_is_the_union_of_shifted_copies(mask: int, count: int, distance: int) -> None:
    expected = 0
    for k in range(count):
        expected |= mask << (k * distance)
    assert smear(mask, count, distance) == expected


def test_fields_too_large_to_follow_are_refused() -> None:
    with pytest.raises(InputError, match="cells"):
        Field.of(Window(1 << 40))
    with pytest.raises(InputError, match="phases"):
        Field.of(*(Window(1, input_dilation=s) for s in (11, 13, 17, 19)))
    with pytest.raises(InputError, match="last map"):
        read_cells([Window(3)], 5, 3)
