"""The inverse problem, against trying everything."""

from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscape.arithmetic import InputError, Window, ceiled, transposed_window
from convscape.arithmetic.chain import solve_chain
from convscape.arithmetic.operations import OPERATIONS, Operation
from convscape.arithmetic.solve import Constraints, Solution, solve

Setting = tuple[int, int, int, tuple[int, int], int]


def setting(s: Solution) -> Setting:
    return (s.kernel, s.stride, s.dilation, s.padding, s.output_padding)


def output(op: str, s: Setting, n: int, rounded: bool = False) -> int:
    """The size by the window, independent of how the search got there."""
    k, stride, d, padding, extra = s
    if op == "transposed":
        return transposed_window(k, stride, d, padding, extra).output(n)
    w = Window(k, stride, d, 1, padding)
    return (ceiled(w, n) if rounded else w).output(n)


def everything(
    op: str, largest: int, dilations: tuple[int, ...], asymmetric: bool
) -> list[Setting]:
    found = []
    for k, s, d in product(range(1, largest + 1), range(1, largest + 1), dilations):
        if s > k:
            continue
        limit = k // 2 if op.endswith("pool") else d * (k - 1)
        for low, high in product(range(limit + 1), repeat=2):
            if asymmetric or low == high:
                extras = range(s) if op == "transposed" else range(1)
                found += [(k, s, d, (low, high), extra) for extra in extras]
    return found


@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from(OPERATIONS),
    st.booleans(),
    st.booleans(),
)
def test_solve_finds_every_window_and_no_other(
    i: int, o: int, op: Operation, asymmetric: bool, rounded: bool
) -> None:
    rounded = rounded and op.endswith("pool")
    allowed = Constraints(op, dilation=(2, 3), asymmetric=asymmetric, ceil_mode=rounded, largest=5)
    found = solve(i, o, allowed)
    expected = [
        s for s in everything(op, 5, (2, 3), asymmetric)
        if s[0] > 1 and output(op, s, i, rounded) == o
    ]  # fmt: skip
    assert sorted(setting(s) for s in found if s.kernel > 1) == sorted(expected)
    assert [s.cost for s in found] == sorted(s.cost for s in found)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(2, 30), st.integers(1, 12), st.integers(1, 3), st.booleans())
def test_chains_come_in_order_and_none_is_missing(
    i: int, o: int, layers: int, asymmetric: bool
) -> None:
    allowed = Constraints(asymmetric=asymmetric, largest=3)
    chains = solve_chain(i, o, layers, allowed, limit=10**6)
    assert len({tuple(map(setting, c)) for c in chains}) == len(chains)
    costs = [tuple(map(sum, zip(*(s.cost for s in c), strict=True))) for c in chains]
    assert all(a <= b for a, b in pairwise(costs))

    count = {i: 1}  # how many chains lead to each size
    for _ in range(layers):
        after: dict[int, int] = {}
        for n, ways in count.items():
            for s in everything("conv", 3, (1,), asymmetric):
                m = output("conv", s, n)
                after[m] = after.get(m, 0) + ways
        after.pop(0, None)
        count = after
    assert len(chains) == count.get(o, 0)
    for chain in chains:
        n = i
        for made in chain:
            n = output("conv", setting(made), n)
        assert n == o


def test_three_layers_from_224_to_7() -> None:
    chains = solve_chain(224, 7, 3, Constraints(kernel=(3, 5, 7)), limit=5)
    assert len(chains) == 5
    for chain in chains:
        n = 224
        for s in chain:
            n = Window(s.kernel, s.stride, s.dilation, 1, s.padding).output(n)
        assert n == 7
    doubled = solve_chain(7, 56, 3, Constraints("transposed", kernel=4, stride=2), identical=True)
    assert [setting(s) for s in doubled[0]] == [(4, 2, 1, (1, 1), 0)] * 3


def test_identical_layers_are_all_the_same_and_complete() -> None:
    allowed = Constraints(largest=5)
    chains = solve_chain(64, 4, 4, allowed, identical=True, limit=1000)
    expected = []
    for s in everything("conv", 5, (1,), False):
        n = 64
        for _ in range(4):
            n = output("conv", s, n)
        if n == 4:
            expected.append(s)
    assert sorted(setting(c[0]) for c in chains) == sorted(expected)
    assert all(len(set(map(setting, c))) == 1 for c in chains)


def test_each_layer_may_have_its_own_constraints() -> None:
    conv, pool = Constraints(kernel=3, padding=1, stride=1), Constraints("max_pool", 2, 2)
    chain = solve_chain(32, 8, 4, [conv, pool, conv, pool])[0]
    assert [s.kernel for s in chain] == [3, 2, 3, 2]


def test_all_axes_are_served_by_the_same_window() -> None:
    found = solve((224, 200), (112, 100), Constraints(kernel=3))
    assert [setting(s) for s in found] == [(3, 2, 1, (1, 1), 0)]
    assert solve((224, 200), (112, 101), Constraints(kernel=3)) == []


def test_fixed_numbers_are_kept() -> None:
    found = solve(5, 3, Constraints(kernel=3, padding=(0, 1), stride=(1, 2, 3)))
    assert [setting(s) for s in found] == []
    found = solve(6, 3, Constraints(kernel=3, padding=(0, 1), stride=(1, 2, 3)))
    assert [setting(s) for s in found] == [(3, 2, 1, (0, 1), 0)]


def test_a_long_axis_is_solved_without_walking_over_it() -> None:
    found = solve(10**12, 10**12 // 2, Constraints(kernel=3))
    assert [setting(s) for s in found] == [(3, 2, 1, (1, 1), 0)]


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: solve(0, 3), "sizes and counts must be at least 1"),
        (lambda: solve((5, 5), 3), "the same number of axes"),
        (lambda: solve_chain(5, 3, 0), "sizes and counts must be at least 1"),
        (lambda: solve_chain(5, 3, 2, [Constraints()]), "one for all layers"),
        (lambda: Constraints(kernel=0), "kernel must be at least 1"),
        (lambda: Constraints("convolve"), "known operations"),  # type: ignore[arg-type]
        (lambda: Constraints(ceil_mode=True), "option of pooling"),
        (
            lambda: solve_chain(10**6, 3, 5, Constraints(largest=40, asymmetric=True)),
            "a chain is searched among at most",
        ),
    ],
)
def test_impossible_questions_are_refused(call: object, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        call()  # type: ignore[operator]
