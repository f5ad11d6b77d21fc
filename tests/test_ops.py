"""The differentiable ops against torch's own, and by finite differences."""

import doctest
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from convscape import InputError, ops
from tests.cases import (
    CASES,
    DTYPES,
    LAYOUTS,
    POOLS,
    TOLERANCE,
    Case,
    channels_last,
    contiguous,
    error,
)

nan, inf = float("nan"), float("inf")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    """One thread: the parallel twins have tests of their own, and compile longer."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def conv(case: Case, x: Any, w: Any, b: Any, **options: Any) -> torch.Tensor:
    return ops.conv2d(x, w, b, case.stride, case.padding, case.dilation, case.groups, **options)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_conv2d_and_its_gradients_are_torchs(case: Case, dtype: torch.dtype) -> None:
    x, w, b, dy = case.arrays(torch.float64)
    inputs = [t.requires_grad_() for t in (x, w, b)]
    want_y = conv(case, *inputs, algorithm="framework")
    want = torch.autograd.grad(want_y, inputs, dy)
    for layout in LAYOUTS:
        mine = [layout(t.detach().to(dtype)) if t.dim() == 4 else t.detach().to(dtype)
                for t in inputs]  # fmt: skip
        mine = [t.requires_grad_() for t in mine]
        y = conv(case, *mine)
        got = torch.autograd.grad(y, mine, layout(dy.to(dtype)))
        for a, e in zip((y, *got), (want_y, *want), strict=True):
            assert error(a.detach(), e.detach()) < TOLERANCE[dtype]
        with torch.no_grad():
            assert torch.equal(conv(case, *mine), y)


@pytest.mark.parametrize("case", [c for c in CASES if 0 < c.geometry.macs(c.spatial) < 4000],
                         ids=lambda c: c.name)  # fmt: skip
def test_conv2d_passes_gradcheck_and_gradgradcheck(case: Case) -> None:
    x, w, b, _ = case.arrays(torch.float64)
    inputs = tuple(t.requires_grad_() for t in (x, w, b))
    assert gradcheck(lambda *t: conv(case, *t), inputs)
    assert gradgradcheck(lambda *t: conv(case, *t), inputs)


def test_an_algorithm_can_be_named() -> None:
    case = CASES[1]
    x, w, b, _ = case.arrays(torch.float64)
    results = [conv(case, x, w, b, algorithm=a) for a in ("gemm", "framework", "reference")]
    assert error(results[0], results[1]) < 1e-13
    assert error(results[0], results[2]) < 1e-13


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    ceil_mode=st.booleans(),
    include=st.booleans(),
    override=st.sampled_from([None, 1, 3, -2]),
    dilation=st.integers(1, 2),
    size=st.tuples(st.integers(7, 12), st.integers(7, 12)),
    last=st.booleans(),
    data=st.data(),
)
def test_pooling_is_torchs_for_every_option(
    kernel: Any, stride: Any, ceil_mode: bool, include: bool, override: Any, dilation: int,
    size: Any, last: bool, data: Any,
) -> None:  # fmt: skip
    padding = tuple(data.draw(st.integers(0, k // 2)) for k in kernel)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    x = channels_last(x) if last else x
    args = kernel, stride, padding
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = ops.avg_pool2d(mine, *args, ceil_mode, include, override)
    want = functional.avg_pool2d(theirs, *args, ceil_mode, include, override)
    dy = torch.randn_like(want)
    assert error(y.detach(), want.detach()) < 1e-13
    got_dx, want_dx = (torch.autograd.grad(a, b, dy)[0] for a, b in ((y, mine), (want, theirs)))
    assert error(got_dx, want_dx) < 1e-13
    y, where = ops.max_pool2d(mine, *args, dilation, ceil_mode, return_indices=True)
    want, want_where = functional.max_pool2d(
        theirs, *args, dilation, ceil_mode, return_indices=True
    )
    assert torch.equal(y, want)
    assert torch.equal(where, want_where)
    dy = torch.randn_like(want)
    got_dx, want_dx = (torch.autograd.grad(a, b, dy)[0] for a, b in ((y, mine), (want, theirs)))
    assert error(got_dx, want_dx) < 1e-13


def outputs(case: Case) -> int:
    rows, columns = case.geometry.outputs(case.spatial)
    return case.batch * case.channels * rows * columns


# Finite differences take a call for each input cell: the small ones.
@pytest.mark.parametrize("case", [c for c in POOLS if 0 < outputs(c) < 800], ids=lambda c: c.name)
def test_pooling_passes_gradcheck_and_gradgradcheck(case: Case) -> None:
    x = torch.randperm(torch.Size(case.shape).numel(), dtype=torch.float64).reshape(case.shape)
    x = x.requires_grad_()  # distinct values, so that the maximum is differentiable

    def maximum(x: torch.Tensor) -> torch.Tensor:
        return ops.max_pool2d(x, case.kernel, case.stride, case.padding, case.dilation)

    def average(x: torch.Tensor) -> torch.Tensor:
        return ops.avg_pool2d(x, case.kernel, case.stride, case.padding, True, False)

    for f in (maximum,) if case.dilation != (1, 1) else (maximum, average):
        assert gradcheck(f, (x,))
        assert gradgradcheck(f, (x,))


@pytest.mark.parametrize("module", ["conv", "conv_transpose", "pool", "batch_norm"])
def test_the_examples_run(module: str) -> None:
    found = import_module(f"convscape.ops.{module}")
    result = doctest.testmod(found, extraglobs={"torch": torch})
    assert result.attempted > 0
    assert result.failed == 0


# --- NaN and Inf -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("layout", LAYOUTS[:2], ids=lambda f: f.__name__)
def test_nan_and_inf_come_out_where_torch_puts_them(value: float, layout: Any) -> None:
    x = torch.randn(2, 5, 9, 8)
    x[0, 1, 3, 4], x[1, 4, 0, 0], x[1, 2, 8, 7] = value, value, -value
    x = layout(x)
    w = torch.randn(7, 5, 3, 3)
    pairs = (
        (ops.conv2d(x, w, None, 2, 1), functional.conv2d(x, w, None, 2, 1)),
        (ops.conv2d(x, w[:5, :1], groups=5), functional.conv2d(x, w[:5, :1], groups=5)),
        (ops.max_pool2d(x, 3, 2, 1), functional.max_pool2d(x, 3, 2, 1)),
        (ops.avg_pool2d(x, 3, 2, 1), functional.avg_pool2d(x, 3, 2, 1)),
        (ops.batch_norm(x, None, None, training=True),
         functional.batch_norm(x, None, None, training=True)),
        (ops.batch_norm(x, x.new_zeros(5), x.new_ones(5)),
         functional.batch_norm(x, x.new_zeros(5), x.new_ones(5))),
    )  # fmt: skip
    for got, want in pairs:
        assert torch.equal(got.isnan(), want.isnan())
        assert torch.equal(got.isposinf(), want.isposinf())
        assert torch.equal(got.isneginf(), want.isneginf())
        usual = want.isfinite()
        torch.testing.assert_close(got[usual], want[usual], rtol=1e-4, atol=1e-5)


# --- memory and names --------------------------------------------------------------------------


def test_results_keep_the_inputs_memory_order() -> None:
    x, w = torch.randn(2, 6, 8, 8), torch.randn(6, 6, 3, 3)
    for layout in LAYOUTS[:2]:
        order = torch.channels_last if layout is channels_last else torch.contiguous_format
        for y in (
            ops.conv2d(layout(x), w),
            ops.conv2d(layout(x), w[:, :1], groups=6),
            ops.max_pool2d(layout(x), 2),
            ops.avg_pool2d(layout(x), 2),
            ops.batch_norm(layout(x), None, None, training=True),
        ):
            assert y.is_contiguous(memory_format=order)


def test_an_image_without_a_batch_is_one_image() -> None:
    x, w = torch.randn(3, 8, 8), torch.randn(4, 3, 3, 3)
    assert torch.equal(ops.conv2d(x, w), ops.conv2d(x[None], w)[0])
    assert torch.equal(ops.max_pool2d(x, 2), ops.max_pool2d(x[None], 2)[0])
    assert torch.equal(ops.avg_pool2d(x, 2), ops.avg_pool2d(x[None], 2)[0])


@pytest.mark.parametrize("name", ["valid", "same"])
def test_padding_names_are_torchs(name: str) -> None:
    x, w = torch.randn(1, 2, 7, 9), torch.randn(3, 2, 4, 3)
    want = functional.conv2d(x, w, padding=name, dilation=2)
    assert error(ops.conv2d(x, w, padding=name, dilation=2), want) < 1e-6


@pytest.mark.parametrize("kind", [torch.bfloat16, "meta"])
def test_what_the_kernels_do_not_cover_torch_computes(kind: Any) -> None:
    x, w = torch.randn(2, 3, 8, 8).to(kind), torch.randn(4, 3, 3, 3).to(kind)
    pairs = (
        (ops.conv2d(x, w, None, 2, ((0, 1), (0, 1))),
         functional.conv2d(functional.pad(x, (0, 1, 0, 1)), w, None, 2)),
        (ops.max_pool2d(x, 2), functional.max_pool2d(x, 2)),
        (ops.avg_pool2d(x, 3, 2, 1), functional.avg_pool2d(x, 3, 2, 1)),
        (ops.batch_norm(x, None, None, training=True),
         functional.batch_norm(x, None, None, training=True)),
    )  # fmt: skip
    for got, want in pairs:
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        if kind != "meta":
            torch.testing.assert_close(got, want, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("layout", [contiguous, channels_last], ids=["plain", "last"])
@pytest.mark.parametrize("relu", [True, 0.5], ids=["relu", "bounded"])
def test_a_fused_relu_is_a_relu_after_the_convolution(
    case: Case, layout: Any, relu: bool | float
) -> None:
    x, w, b, dy = (t.requires_grad_() for t in case.arrays(torch.float32))
    given = case.stride, case.padding, case.dilation, case.groups
    fused = ops.conv2d(layout(x), w, b, *given, relu=relu)
    apart = ops.conv2d(layout(x), w, b, *given).clamp(0, None if relu is True else relu)
    assert error(fused.detach(), apart.detach()) < 1e-6
    assert (fused.detach() >= 0).all()
    assert relu is True or (fused.detach() <= relu).all()
    for got, want in zip(
        torch.autograd.grad(fused, (x, w, b), dy.detach()),
        torch.autograd.grad(apart, (x, w, b), dy.detach()),
        strict=True,
    ):
        assert error(got, want) < 1e-5


def test_a_fused_relu_passes_nan_and_derives_twice() -> None:
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    for relu in (True, 0.5):
        torch.autograd.gradgradcheck(lambda a, b, r=relu: ops.conv2d(a, b, relu=r), (x, w))
    broken = torch.full((1, 1, 9, 9), torch.nan)
    for algorithm in ("winograd", "gemm", "depthwise", "reference"):
        for bound in (True, 6.0):
            y = ops.conv2d(broken, torch.ones(1, 1, 3, 3), relu=bound, algorithm=algorithm)
            assert y.isnan().all()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_constant_weight_gives_what_the_weight_gives(case: Case) -> None:
    x, w, b, _ = case.arrays(torch.float32)
    constant = ops.ConstantWeight(w)
    given = case.stride, case.padding, case.dilation, case.groups
    want = ops.conv2d(channels_last(x), w, b, *given, algorithm="gemm", relu=True)
    w.zero_()  # the constant is a copy
    for _ in range(2):
        got = ops.conv2d(channels_last(x), constant, b, *given, algorithm="gemm", relu=True)
        if case.name == "seven_across":  # its weights are packed, and summed, in other pieces
            assert error(got, want) < 1e-6
        else:
            assert torch.equal(got, want)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_layers_convolution_is_chosen_once_and_gives_the_same(case: Case) -> None:
    x, w, b, _ = case.arrays(torch.float32)
    given = case.stride, case.padding, case.dilation, case.groups
    constant = ops.ConstantWeight(w)
    for layout in (contiguous, channels_last):
        call = constant.convolution(layout(x), b, 50.0, *given)
        for images in (x, x + 1):
            want = ops.conv2d(layout(images), w, b, *given, relu=50.0)
            # With the weights arranged already another algorithm may be the cheapest.
            assert error(call(layout(images)), want) < 1e-5


# --- bad input ---------------------------------------------------------------------------------

X, W = torch.randn(2, 4, 8, 8), torch.randn(6, 4, 3, 3)
ONES = torch.ones(4)
ONE, THREE = torch.ones(1, 4), torch.ones(3)
REFUSED: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("stride must be at least 1; got stride=0", lambda: ops.conv2d(X, W, stride=0)),
    ("dilation must be at least 1; got dilation=-1", lambda: ops.conv2d(X, W, dilation=-1)),
    ("kernel must be at least 1", lambda: ops.max_pool2d(X, 0)),
    ("padding must not be negative", lambda: ops.conv2d(X, W, padding=-1)),
    ("padding must be a known name", lambda: ops.conv2d(X, W, padding="some")),
    ("the window must fit", lambda: ops.conv2d(X, torch.randn(6, 4, 9, 9))),
    ("the window must fit", lambda: ops.max_pool2d(X, 9)),
    ("groups must divide in_channels", lambda: ops.conv2d(X, W, groups=3)),
    ("groups must divide out_channels", lambda: ops.conv2d(X, torch.randn(6, 1, 3, 3), groups=4)),
    ("weight must be \\(K, C / groups", lambda: ops.conv2d(X, torch.randn(6, 2, 3, 3))),
    ("input must be \\(N, C, H, W\\)", lambda: ops.conv2d(X[0, 0], W)),
    ("weight must be \\(K, C", lambda: ops.conv2d(X, W[0])),
    ("weight must have the input's dtype", lambda: ops.conv2d(X, W.double())),
    ("bias must have one number", lambda: ops.conv2d(X, W, torch.zeros(5))),
    ("input must be floating-point", lambda: ops.conv2d(X.int(), W.int())),
    ("input must be a torch tensor", lambda: ops.max_pool2d(X.numpy(), 2)),  # type: ignore[call-overload]
    ("at most half the window", lambda: ops.max_pool2d(X, 2, padding=2)),
    ("divisor_override must not be 0", lambda: ops.avg_pool2d(X, 2, divisor_override=0)),
    ("stride must be one value, or one an axis", lambda: ops.conv2d(X, W, stride=(1, 2, 3))),
    ("more than one value a channel", lambda: ops.batch_norm(ONE, None, None, training=True)),
    ("inference needs running statistics", lambda: ops.batch_norm(X, ONES, None)),
    ("weight must have one number a channel", lambda: ops.batch_norm(X, ONES, ONES, THREE)),
    ("input must be \\(N, C\\) or", lambda: ops.batch_norm(ONES, ONES, ONES)),
    ("relu must be True, False or an upper bound", lambda: ops.conv2d(X, W, relu=0)),
    ("an upper bound above 0; got relu=-6.0", lambda: ops.conv2d(X, W, relu=-6.0)),
    ("an upper bound above 0; got relu=nan", lambda: ops.conv2d(X, W, relu=float("nan"))),
    ("algorithm must be one that", lambda: ops.conv2d(X, W, algorithm="fast")),
)  # fmt: skip


@pytest.mark.parametrize(("rule", "call"), REFUSED, ids=[r for r, _ in REFUSED])
def test_bad_input_is_refused_with_the_rule(rule: str, call: Callable[[], Any]) -> None:
    with pytest.raises(InputError, match=rule):
        call()


def test_an_empty_batch_has_zero_gradients() -> None:
    x, w = torch.randn(0, 4, 8, 8, requires_grad=True), W.clone().requires_grad_()
    y = ops.conv2d(x, w, padding=1)
    assert y.shape == (0, 6, 8, 8)
    dx, dw = torch.autograd.grad(y.sum(), (x, w))
    assert dx.shape == x.shape
    assert dw.abs().sum() == 0


def test_what_was_checked_once_is_checked_again_for_tensors_that_lie_otherwise() -> None:
    x, weight = torch.randn(2, 8, 6, 6), torch.randn(16, 8, 1, 1)
    bias = torch.randn(16)
    last = x.contiguous(memory_format=torch.channels_last)
    want = functional.conv2d(x, weight, bias)
    apart = torch.randn(2, 8, 6, 12)[..., ::2].copy_(x)
    for _ in range(2):  # the second time everything is known
        for lying in (last, x, apart):
            torch.testing.assert_close(ops.conv2d(lying, weight, bias), want)
        turned = weight.transpose(0, 1).contiguous().transpose(0, 1)
        torch.testing.assert_close(ops.conv2d(last, turned, bias), want)
        with pytest.raises(InputError, match="one number an output channel"):
            ops.conv2d(last, weight, bias[:8])
        with pytest.raises(InputError, match="input's dtype"):
            ops.conv2d(last, weight.double(), bias)
        with pytest.raises(InputError, match="upper bound"):
            ops.conv2d(last, weight, bias, relu=-1.0)


def test_a_tensor_without_memory_is_refused_where_its_like_was_computed() -> None:
    x = torch.randn(1, 8, 6, 6).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(16, 8, 1, 1)
    ops.conv2d(x, weight)
    mode = FakeTensorMode()
    with pytest.raises(RuntimeError, match="numpy"):
        ops.conv2d(mode.from_tensor(x), weight)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_constant_weight_leaves_the_input_its_gradient(
    kernel: int, layout: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    x = layout(torch.randn(2, 8, 6, 6)).requires_grad_()
    weight = torch.randn(16, 8, kernel, kernel)
    y = ops.conv2d(x, ops.ConstantWeight(weight))
    want = functional.conv2d(x, weight)
    dy = torch.randn_like(want)
    (got,) = torch.autograd.grad(y, x, dy)
    (dx,) = torch.autograd.grad(want, x, dy)
    torch.testing.assert_close(y, want)
    torch.testing.assert_close(got, dx)


def test_a_mode_that_makes_tensors_without_memory_is_refused() -> None:
    x, weight = channels_last(torch.randn(1, 8, 6, 6)), torch.randn(8, 8, 1, 1)
    for _ in range(2):
        with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(TypeError, match="memory"):
            ops.conv2d(x, weight)
        torch.testing.assert_close(ops.conv2d(x, weight), functional.conv2d(x, weight))
