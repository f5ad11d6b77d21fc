"""Batch normalization, with a residual and ReLU: the loops, torch in float64, and hard numbers."""

import os
from collections.abc import Callable
from itertools import product
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from convscape import ops
from convscape.arithmetic import InputError
from convscape.kernels import Problem, choose, load, reference
from convscape.kernels.cpu import caches
from tests.cases import DTYPES, LAYOUTS, TOLERANCE, contiguous, error

SHAPES = (
    (2, 3),
    (5, 1),
    (7, 2, 3),
    (2, 3, 5, 7),
    (3, 16, 4, 4),
    (2, 2, 3, 2, 3),
    (1, 4, 2, 2),
    (37, 131),
    (3, 70, 3, 5),
    (5, 17, 9, 9),
    (4, 64, 8, 8),
    (1, 2, 70, 70),
    (4, 19, 31, 33),
    (2, 3, 150, 151),
    (700, 131),
)
"""One channel, primes, odd rows, one value a run, fewer and more than a vector or a row;
the last ones are large enough for two threads."""

FUSED = tuple(product((False, True), (False, True)))
"""With and without ReLU and a residual."""


def last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


@pytest.fixture(autouse=True)
def threads_as_found() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernels_agree_with_the_formula(shape: tuple[int, ...], dtype: Any) -> None:
    rng = np.random.default_rng(0)
    fast = load(choose(Problem("batch_norm", shape)))
    x, dy, residual = (rng.normal(size=shape).astype(dtype) for _ in range(3))
    weight, bias = rng.normal(size=(2, shape[1])).astype(dtype)
    known = rng.normal(size=shape[1]), rng.random(shape[1]) + 0.5
    tolerance = 1e-5 if dtype == np.float32 else 1e-11
    for (relu, adds), statistics, order in product(FUSED, (None, known), (np.array, last)):
        added = order(residual) if adds else None
        a, d = order(x), order(dy)
        given = weight, bias, statistics, 0.1, added, relu
        exact, moments = reference.normalize(a.astype(float), *given)
        y = exact.astype(dtype) if relu and adds else None
        about = y, weight, bias, moments, 0.1, statistics is None, relu
        grads = reference.normalize_grad(d.astype(float), a.astype(float), *about)
        for threads in (1, 2) if dtype == np.float32 else (1,):
            got, found = fast.normalize(a, *given, threads)
            assert got.dtype == dtype
            assert got.strides == a.strides or min(shape) == 1
            assert error(got, exact) < tolerance
            assert error(found, moments) < tolerance
            results = fast.normalize_grad(d, a, *about, threads)
            for n, (mine, want) in enumerate(zip(results, grads, strict=True)):
                if not (n == 1 and relu and y is None):  # what ReLU passes is given with y alone
                    assert error(mine, want) < tolerance


@pytest.mark.parametrize(
    ("size", "cores", "share", "points"),
    [(32, 2, 16, 9), (8, 4, 2, 9), (480, 2, 240, 120), (1, 1, 1, 9)],
)
def test_a_core_counts_on_a_share_of_the_last_cache(
    size: int, cores: int, share: int, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mib = 1 << 20
    monkeypatch.setattr(caches, "_largest", lambda: (size * mib, cores))
    # Without what is remembered of this machine's.
    assert caches.core_share.__wrapped__() == share * mib
    assert caches.last_cache.__wrapped__() == mib * min(size, 10 * (os.cpu_count() or 1))
    monkeypatch.setattr(caches, "core_share", caches.core_share.__wrapped__)
    assert caches.share_for_points.__wrapped__() == points * mib


def test_this_machines_last_cache_is_found() -> None:
    size, cores = caches._largest()
    assert 0 < caches.last_cache() <= size
    assert 0 < caches.core_share() <= size // cores


@pytest.mark.parametrize(("listed", "cores"), [("0\n", 1), ("0-1", 2), ("0-3,8", 5), ("0,4", 2)])
def test_cores_that_share_a_cache_are_counted(listed: str, cores: int) -> None:
    assert caches._count(listed) == cores


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [np.array, last], ids=["plain", "last"])
def test_what_is_written_past_the_caches_has_the_same_bits(
    order: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for shape in ((4, 64, 8, 8), (3, 16, 4, 4), (4, 19, 31, 33), (2, 3, 150, 151), (9, 80, 7, 7)):
        fast = load(choose(Problem("batch_norm", shape)))
        x, dy, residual = (order(rng.normal(size=shape).astype(dtype)) for _ in range(3))
        results = []
        for cache in (1 << 40, 0):
            monkeypatch.setattr(caches, "last_cache", lambda cache=cache: cache)
            for remembered in (fast._forward, fast._backward):
                remembered.cache_clear()
            y, moments = fast.normalize(x, None, None, None, 0.1, residual, True, 2)
            grads = fast.normalize_grad(dy, x, y, None, None, moments, 0.1, True, True, 2)
            results.append((y, *grads))
        for usual, past in zip(*results, strict=True):
            np.testing.assert_array_equal(usual, past)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(64, 5), (8, 5, 16, 16), (3000, 5)], ids=str)
@pytest.mark.parametrize("order", [np.array, last], ids=["plain", "last"])
def test_a_mean_a_million_deviations_away_costs_no_digits(
    shape: tuple[int, ...], dtype: Any, order: Any
) -> None:
    rng = np.random.default_rng(0)
    x = order((rng.normal(size=shape) * 1e-2 + 1e4).astype(dtype))
    # A first value far from the others is a bad first guess of the mean, and no more.
    for outlier in (False, True):
        if outlier:
            x[0, 0] = 1e3
        fast = load(choose(Problem("batch_norm", shape)))
        given = None, None, None, 0.0, None, False
        y, (mean, var) = fast.normalize(x, *given, 1)
        want, (want_mean, want_var) = reference.normalize(x.astype(float), *given)
        assert (np.abs(mean - want_mean) <= 1e-7 * np.sqrt(want_var) + 1e-14 * want_mean).all()
        np.testing.assert_allclose(var, want_var, rtol=1e-6 if dtype == np.float32 else 1e-10)
        assert error(y, want) < (1e-6 if dtype == np.float32 else 1e-9)


def test_squares_beyond_float32_are_summed_in_float64() -> None:
    x = torch.randn(64, 3, 5) * torch.tensor([1.0, 1e25, 1.0])[:, None]
    for y in (x, x.transpose(1, 2).contiguous().transpose(1, 2)):
        want = functional.batch_norm(y.double(), None, None, training=True)
        assert error(ops.batch_norm(y, None, None, training=True), want) < 1e-5


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2), (2, 3, 4, 3), (2, 2, 2, 2, 2)], ids=str)
def test_batch_norm_is_torchs(shape: tuple[int, ...], affine: bool, training: bool) -> None:
    for dtype in DTYPES:
        x, dy = (torch.randn(shape, dtype=torch.float64) for _ in range(2))
        c = shape[1]
        weight, bias, mean = (torch.randn(c, dtype=torch.float64) for _ in range(3))
        var = torch.rand(c, dtype=torch.float64) + 0.5
        results = []
        both: tuple[tuple[Callable[..., torch.Tensor], torch.dtype], ...] = (
            (ops.batch_norm, dtype),
            (functional.batch_norm, torch.float64),
        )
        for f, kind in both:
            inputs = [x.to(kind).requires_grad_()]
            if affine:
                inputs += [weight.to(kind).requires_grad_(), bias.to(kind).requires_grad_()]
            m, v = mean.to(kind).clone(), var.to(kind).clone()
            y = f(inputs[0], m, v, *(inputs[1:] or (None, None)), training, 0.3, 1e-3)
            results.append((y, *torch.autograd.grad(y, inputs, dy.to(kind)), m, v))
        for got, want in zip(*results, strict=True):
            assert error(got.detach(), want.detach()) < TOLERANCE[dtype]


@pytest.mark.parametrize(("relu", "adds"), FUSED)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_fused_is_torchs_composition(
    threads: int, training: bool, relu: bool, adds: bool
) -> None:
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    for layout, dtype in product(LAYOUTS, DTYPES):
        exact = [
            torch.randn(s, generator=generator, dtype=torch.float64)
            for s in ((3, 5, 7, 6), (3, 5, 7, 6), (5,), (5,), (3, 5, 7, 6))
        ]
        results: list[Any] = []
        for kind in (dtype, torch.float64):
            x, residual, weight, bias, dy = (t.to(kind) for t in exact)
            x, residual = layout(x).requires_grad_(), layout(residual).requires_grad_()
            weight, bias = weight.requires_grad_(), bias.requires_grad_()
            mean, var = torch.zeros(5, dtype=kind), torch.ones(5, dtype=kind)
            given = x, mean, var, weight, bias, training
            if kind is dtype and results == []:
                y = ops.batch_norm(*given, relu=relu, residual=residual if adds else None)
            else:
                y = functional.batch_norm(*given)
                y = y + residual if adds else y
                y = torch.relu(y) if relu else y
            inputs = (x, weight, bias, residual) if adds else (x, weight, bias)
            results.append((y, *torch.autograd.grad(y, inputs, dy), mean, var))
        for got, want in zip(*results, strict=True):
            assert error(got.detach(), want.detach()) < TOLERANCE[dtype]


@pytest.mark.parametrize(("relu", "adds"), FUSED)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_passes_gradcheck_and_gradgradcheck(
    affine: bool, training: bool, relu: bool, adds: bool
) -> None:
    # Half of the values are well above ReLU's kink, half well below.
    torch.manual_seed(0)
    x = torch.randn(4, 2, 2, 3, dtype=torch.float64) * 0.2
    x[::2] += 2
    weight, bias = torch.rand(2).double() + 0.5, torch.rand(2).double() * 0.1
    mean, var = torch.ones(2).double(), torch.rand(2).double() + 0.5
    residual = torch.randn(4, 2, 2, 3, dtype=torch.float64) * 0.1
    inputs = [x, *([weight, bias] if affine else []), *([residual] if adds else [])]
    for t in inputs:
        t.requires_grad_()

    def f(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        gamma, beta = others[:2] if affine else (None, None)
        added = others[-1] if adds else None
        return ops.batch_norm(
            x, mean.clone(), var.clone(), gamma, beta, training, relu=relu, residual=added
        )

    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


def test_the_third_derivative_of_batch_norm_is_the_formulas() -> None:
    # Torch's own batch_norm is no oracle here: its third derivative differs from the formula's.
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)

    def formula(x: torch.Tensor) -> torch.Tensor:
        var, mean = torch.var_mean(x, 0, correction=0)
        return (x - mean) / (var + 1e-5).sqrt()

    def third(f: Callable[..., torch.Tensor]) -> torch.Tensor:
        result = f(x).pow(3).sum()
        for _ in range(3):
            (grad,) = torch.autograd.grad(result, x, create_graph=True)
            result = grad.pow(2).sum()
        return grad.detach()

    mine = third(lambda x: ops.batch_norm(x, None, None, training=True))
    assert error(mine, third(formula)) < 1e-9


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("adds", [True, False])
def test_relu_passes_nan_as_torchs_does(value: float, training: bool, adds: bool) -> None:
    for layout in LAYOUTS[:2]:
        x = torch.randn(2, 5, 9, 8)
        x[0, 1, 3, 4], x[1, 2, 8, 7] = value, -value
        residual = torch.randn(2, 5, 9, 8)
        residual[1, 4, 0, 0] = value
        dy = torch.randn(2, 5, 9, 8)
        results = []
        for ours in (True, False):
            a, r = layout(x).requires_grad_(), layout(residual).requires_grad_()
            mean, var = torch.zeros(5), torch.ones(5)
            if ours:
                y = ops.batch_norm(
                    a, mean, var, training=training, relu=True, residual=r if adds else None
                )
            else:
                y = functional.batch_norm(a, mean, var, training=training)
                y = torch.relu(y + r if adds else y)
            grads = torch.autograd.grad(y, (a, r) if adds else (a,), dy)
            results.append((y.detach(), *grads))
        for got, want in zip(*results, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_an_empty_batch_and_half_precision_are_fused_too() -> None:
    x = torch.randn(0, 3, 4, 4)
    y = ops.batch_norm(x, torch.zeros(3), torch.ones(3), relu=True, residual=x)
    assert y.shape == x.shape
    h, r = torch.randn(4, 3, 2, 2).bfloat16(), torch.randn(4, 3, 2, 2).bfloat16()
    got = ops.batch_norm(h, None, None, training=True, relu=True, residual=r)
    want = torch.relu(functional.batch_norm(h, None, None, training=True) + r)
    assert torch.equal(got, want)


def test_a_residual_of_another_shape_is_refused() -> None:
    x = contiguous(torch.randn(2, 3, 4, 4))
    with pytest.raises(InputError, match="residual must have the input's shape"):
        ops.batch_norm(x, None, None, training=True, residual=x[:1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("correction", [0, 1])
def test_training_in_one_call_is_the_moments_recorded(dtype: torch.dtype, correction: int) -> None:
    x = torch.randn(3, 5, 7, 2).to(dtype)
    for layout in LAYOUTS:
        gamma, beta, mean, var = (torch.rand(5).to(dtype) for _ in range(4))
        wanted, apart = [mean.clone(), var.clone()], (mean.clone(), var.clone())
        given = layout(x), gamma, beta, 0.1
        versions = mean._version, var._version
        y = ops.batch_norm_training(
            given[0], mean, var, *given[1:], decay=0.75, correction=correction
        )
        want, batch_mean, batch_var = ops.batch_norm_moments(*given)
        ops.update_moments(*apart, batch_mean, batch_var, 42, decay=0.75, correction=correction)
        exact = x.double().mean((0, 2, 3)), x.double().var((0, 2, 3), correction=correction)
        assert torch.equal(y, want)
        for found, same, start, batch in zip((mean, var), apart, wanted, exact, strict=True):
            loose = 2e-2 if dtype is torch.bfloat16 else 1e-6
            torch.testing.assert_close(found, same, rtol=loose, atol=loose)
            right = 0.75 * start.double() + 0.25 * batch
            torch.testing.assert_close(found.double(), right, rtol=loose, atol=loose)
        assert (mean._version, var._version) > versions, "autograd must notice the change"


def test_a_momentum_that_changes_with_every_step_binds_nothing_anew() -> None:
    model = torch.nn.BatchNorm2d(3, momentum=None)  # a plain average: 1, 1/2, 1/3, ...
    fast: Any = load(choose(Problem("batch_norm", (4, 3, 5, 5))))
    mean, var, bound = torch.zeros(3), torch.ones(3), []
    for n in range(5):
        x = torch.randn(4, 3, 5, 5)
        model(x)
        ops.batch_norm(x, mean, var, training=True, momentum=1 / (n + 1))
        bound.append(fast._forward.cache_info().misses)
    assert bound == bound[:1] * 5
    torch.testing.assert_close((mean, var), (model.running_mean, model.running_var))
