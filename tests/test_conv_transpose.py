"""Transposed convolution against torch's own, by finite differences, and by its law."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from convscape import InputError, ops
from tests.cases import CASES, DTYPES, LAYOUTS, TOLERANCE, Case, channels_last, error


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def symmetric(case: Case) -> Case:
    """The case with the padding that torch can say: the low end's at both ends."""
    (top, _), (left, _) = case.padding
    return replace(case, padding=((top, top), (left, left)))


def extras(case: Case) -> list[tuple[int, int]]:
    """No output_padding, and the most that torch takes."""
    most = [max(s, d) - 1 for s, d in zip(case.stride, case.dilation, strict=True)]
    return [(0, 0)] if most == [0, 0] else [(0, 0), (most[0], most[1])]


SETTINGS = [(symmetric(case), extra) for case in CASES for extra in extras(case)]
"""Cases with their convolution turned round: an input of theirs is an output of ours."""


each_setting = pytest.mark.parametrize(
    ("case", "extra"), SETTINGS, ids=[f"{case.name}-{extra}" for case, extra in SETTINGS]
)
SMALL = [(case, extra) for case, extra in SETTINGS if 0 < case.geometry.macs(case.spatial) < 4000]


def arrays(case: Case, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """x, weight and bias of the transposed convolution."""
    generator = torch.Generator().manual_seed(0)
    g = case.geometry
    shapes = (case.batch, *g.output_shape(case.spatial)), g.weight_shape, (case.channels,)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]


def call(f: Callable[..., torch.Tensor], case: Case, extra: tuple[int, int]) -> Any:
    padding = tuple(low for low, _ in case.padding)
    return lambda x, w, b: f(
        x, w, b, case.stride, padding, extra, groups=case.groups, dilation=case.dilation
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each_setting
def test_it_and_its_gradients_are_torchs(
    case: Case, extra: tuple[int, int], dtype: torch.dtype
) -> None:
    inputs = [t.requires_grad_() for t in arrays(case)]
    want_y = call(functional.conv_transpose2d, case, extra)(*inputs)
    dy = torch.randn_like(want_y)
    want = torch.autograd.grad(want_y, inputs, dy)
    for layout in LAYOUTS:
        mine = [layout(t.detach().to(dtype)) if t.dim() == 4 else t.detach().to(dtype)
                for t in inputs]  # fmt: skip
        mine = [t.requires_grad_() for t in mine]
        y = call(ops.conv_transpose2d, case, extra)(*mine)
        got = torch.autograd.grad(y, mine, layout(dy.to(dtype)))
        for a, e in zip((y, *got), (want_y, *want), strict=True):
            assert a.dtype == dtype
            assert error(a.detach(), e.detach()) < TOLERANCE[dtype]
        with torch.no_grad():
            assert torch.equal(call(ops.conv_transpose2d, case, extra)(*mine), y)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_it_is_the_adjoint_of_the_convolution_it_transposes(case: Case) -> None:
    # <y, conv(x)> = <conv_transpose(y), x>, asymmetric padding included.
    x, w, _, dy = case.arrays(torch.float64)
    given = case.stride, case.padding
    y = ops.conv2d(x, w, None, *given, case.dilation, case.groups)
    smallest = [w.inputs(o)[0] for w, o in zip(case.geometry.windows, y.shape[2:], strict=True)]
    extra = [n - least for n, least in zip(case.spatial, smallest, strict=True)]
    back = ops.conv_transpose2d(dy, w, None, *given, extra, case.groups, case.dilation)
    assert back.shape == x.shape
    torch.testing.assert_close((y * dy).sum(), (back * x).sum())


@pytest.mark.parametrize(("case", "extra"), SMALL, ids=[f"{c.name}-{e}" for c, e in SMALL])
def test_it_passes_gradcheck_and_gradgradcheck(case: Case, extra: tuple[int, int]) -> None:
    inputs = tuple(t.requires_grad_() for t in arrays(case))
    assert gradcheck(call(ops.conv_transpose2d, case, extra), inputs)
    assert gradgradcheck(call(ops.conv_transpose2d, case, extra), inputs)


def test_every_small_setting_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    for k, s, p, extra, d, n in product(
        (1, 2, 3, 5), (1, 2, 3), (0, 1, 3), (0, 1, 2), (1, 2, 4), (1, 4)
    ):
        if extra >= max(s, d) or (n - 1) * s + d * (k - 1) + 1 + extra <= 2 * p:
            continue
        x, w = (torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
                for shape in ((2, 2, n, n + 1), (2, 3, k, k)))  # fmt: skip
        y, want = (f(x, w, None, s, p, extra, 1, d)
                   for f in (ops.conv_transpose2d, functional.conv_transpose2d))  # fmt: skip
        dy = torch.randn(want.shape, generator=generator, dtype=torch.float64)
        got, exact = (torch.autograd.grad(z, (x, w), dy) for z in (y, want))
        for a, e in zip((y, *got), (want, *exact), strict=True):
            assert error(a.detach(), e.detach()) < 1e-12, (k, s, p, extra, d, n)


def test_padding_beyond_a_3x3_kernel_is_torchs() -> None:
    # Large enough for the algorithm that computes in tiles.
    x, w = torch.randn(2, 64, 24, 24), torch.randn(64, 64, 3, 3)
    for padding in range(5):
        want = functional.conv_transpose2d(x.double(), w.double(), None, 1, padding)
        assert error(ops.conv_transpose2d(x, w, None, 1, padding), want) < 1e-5


@pytest.mark.parametrize("algorithm", ["framework", "reference"])
def test_an_algorithm_can_be_named(algorithm: str) -> None:
    for case, extra in ((CASES[1], (1, 2)), (CASES[3], (1, 0)), (CASES[7], (2, 2))):
        x, w, b = arrays(case)
        given = case.stride, case.padding, extra, case.groups, case.dilation
        want = ops.conv_transpose2d(x, w, b, *given)
        assert error(ops.conv_transpose2d(x, w, b, *given, algorithm=algorithm), want) < 1e-13


@pytest.mark.parametrize(("name", "pairs"), [
    ("valid", 0), ("half", (2, 1)), ("full", (4, 2)), ("causal", ((4, 0), (2, 0))),
])  # fmt: skip
def test_padding_names_are_those_of_the_convolution_that_is_transposed(
    name: str, pairs: Any
) -> None:
    x, w = torch.randn(1, 2, 5, 6), torch.randn(2, 3, 3, 3)
    y = ops.conv_transpose2d(x, w, None, 2, name, dilation=(2, 1))
    assert torch.equal(y, ops.conv_transpose2d(x, w, None, 2, pairs, dilation=(2, 1)))


def test_two_threads_give_what_one_gives() -> None:
    x, w, b = torch.randn(3, 8, 9, 7), torch.randn(8, 6, 3, 3), torch.randn(6)
    one = ops.conv_transpose2d(x, w, b, 2, 1, 1)
    torch.set_num_threads(2)
    try:
        assert error(ops.conv_transpose2d(x, w, b, 2, 1, 1), one) < 1e-6
    finally:
        torch.set_num_threads(1)


def test_results_keep_the_inputs_memory_order() -> None:
    x, w, b = torch.randn(2, 6, 5, 5), torch.randn(6, 4, 3, 3), torch.randn(4)
    for layout in LAYOUTS[:2]:
        order = torch.channels_last if layout is channels_last else torch.contiguous_format
        y = ops.conv_transpose2d(layout(x), w, b, 2)
        assert y.is_contiguous(memory_format=order)


def test_the_bias_changes_nobody_elses_memory() -> None:
    x, w, b = torch.randn(1, 1, 3, 3), torch.ones(1, 1, 1, 1), torch.ones(1)
    kept = x.clone()
    for algorithm in ("auto", "framework"):
        assert torch.equal(ops.conv_transpose2d(x, w, b, algorithm=algorithm), x + 1)
    assert torch.equal(x, kept)
    assert torch.equal(b, torch.ones(1))


def test_an_image_without_a_batch_is_one_image() -> None:
    x, w = torch.randn(3, 4, 5), torch.randn(3, 2, 3, 3)
    y = ops.conv_transpose2d(x, w, None, 2)
    assert torch.equal(y, ops.conv_transpose2d(x[None], w, None, 2)[0])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, "meta"], ids=str)
def test_what_the_kernels_do_not_cover_torch_computes(kind: Any) -> None:
    x, w, b = (torch.randn(s).to(kind) for s in ((2, 4, 5, 6), (4, 3, 3, 3), (3,)))
    got = ops.conv_transpose2d(x, w, b, 2, ((1, 0), (1, 2)), 1)
    want = functional.conv_transpose2d(x, w, b, 2, 0, 1)[:, :, 1:, 1:-2]
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if kind != "meta":
        assert torch.equal(got, want)


X, W = torch.randn(2, 4, 5, 5), torch.randn(4, 3, 3, 3)


def refused(*given: Any, **options: Any) -> Callable[[], Any]:
    return lambda: ops.conv_transpose2d(*given, **options)


REFUSED: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("input must be \\(N, C, H, W\\)", refused(X[0, 0], W)),
    ("input must be floating-point", refused(X.int(), W.int())),
    ("weight must be \\(C, K / groups, R, S\\)", refused(X, W[0])),
    ("weight must be \\(C, K / groups, R, S\\); got input \\(2, 4", refused(X, W[:3])),
    ("weight must have the input's dtype", refused(X, W.double())),
    ("bias must have one number an output channel", refused(X, W, torch.zeros(4))),
    ("bias must have the input's dtype", refused(X, W, torch.zeros(3).double())),
    ("groups must divide out_channels", refused(X, W, groups=3)),
    ("groups must be at least 1", refused(X, W, groups=0)),
    ("stride must be at least 1; got stride=0", refused(X, W, stride=0)),
    ("stride must be one value", refused(X, W, stride=(1, 2, 3))),
    ("padding must be one value", refused(X, W, padding=(1, 1, 1))),
    ("padding must not be negative", refused(X, W, padding=-1)),
    ("frameworks place `same`", refused(X, W, padding="same")),
    ("padding must be a known name", refused(X, W, padding="some")),
    ("output_padding below the stride or the dilation; got output_padding=2, stride=2",
     refused(X, W, stride=2, output_padding=2)),
    ("output_padding below", refused(X, W, output_padding=1)),
    ("output_padding must not be negative", refused(X, W, stride=2, output_padding=-1)),
    ("padding must leave at least one output cell", refused(X, W, padding=4)),
    ("the input must not be empty", refused(X[:, :, :0], W)),
    ("algorithm must be one that", refused(X, W, algorithm="fast")),
    ("computes dense 3x3", refused(X, W, stride=2, algorithm="winograd")),
)  # fmt: skip


@pytest.mark.parametrize(("rule", "make"), REFUSED, ids=[r for r, _ in REFUSED])
def test_bad_input_is_refused_with_the_rule(rule: str, make: Callable[[], Any]) -> None:
    with pytest.raises(InputError, match=rule) as caught:
        make()
    assert caught.value.rule
    assert caught.value.got
    assert caught.value.fix


def test_an_empty_batch_has_empty_results_and_zero_gradients() -> None:
    x, w = torch.randn(0, 4, 5, 5, requires_grad=True), W.clone().requires_grad_()
    b = torch.zeros(3, requires_grad=True)
    y = ops.conv_transpose2d(x, w, b, 2, 1)
    assert y.shape == (0, 3, 9, 9)
    dx, dw, db = torch.autograd.grad(y.sum(), (x, w, b))
    assert dx.shape == x.shape
    assert dw.abs().sum() == db.abs().sum() == 0
