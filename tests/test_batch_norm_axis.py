"""Batch normalization along another channel axis than the second."""

from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from convscape import ops
from convscape.arithmetic import InputError
from tests.cases import DTYPES

AXES = (((4, 5, 3), -1), ((4, 5, 6, 3), 3), ((5, 4, 3), 0), ((2, 3, 4, 2, 3), 2), ((4, 3), -1))


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("shape", "axis"), AXES, ids=str)
def test_a_channel_axis_elsewhere_is_that_axis_moved(
    shape: tuple[int, ...], axis: int, dtype: torch.dtype, grad: bool
) -> None:
    channels = shape[axis]
    options: dict[str, Any] = {"decay": 0.75, "correction": 0}
    results = []
    for inside in (True, False):
        torch.manual_seed(1)
        x, gamma, beta = (torch.rand(s).to(dtype) for s in (shape, channels, channels))
        mean, var = torch.zeros(channels, dtype=dtype), torch.ones(channels, dtype=dtype)
        inputs = [t.requires_grad_(grad) for t in (x, gamma, beta)]
        if inside:
            y = ops.batch_norm_training(x, mean, var, gamma, beta, axis=axis, **options)
        else:
            moved = x.movedim(axis, 1)
            y = ops.batch_norm_training(moved, mean, var, gamma, beta, **options).movedim(1, axis)
        found = [y, mean, var]
        if grad:
            found += torch.autograd.grad(y, inputs, torch.rand(shape).to(dtype), retain_graph=True)
            y = y.relu_()  # a result may be changed in place
        results.append([t.detach().clone() for t in (*found, y)])
    for got, want in zip(*results, strict=True):
        assert got.stride() == want.stride()
        torch.testing.assert_close(got, want, rtol=0, atol=0)


def test_gradients_of_a_channel_axis_elsewhere() -> None:
    given = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((3, 2, 4, 2), 2, 2)]

    def function(x: Any, gamma: Any, beta: Any) -> Any:
        return ops.batch_norm_training(
            x, None, None, gamma, beta, axis=-1, decay=1.0, correction=0
        ).square()

    assert gradcheck(function, given)
    assert gradgradcheck(function, given)


def test_an_empty_batch_has_no_statistics_along_any_axis() -> None:
    mean, var = torch.zeros(3), torch.ones(3)
    y = ops.batch_norm_training(torch.zeros(0, 4, 3), mean, var, axis=-1, decay=0.5, correction=0)
    assert y.shape == (0, 4, 3)
    assert mean.isnan().all()
    assert var.isnan().all()


@pytest.mark.parametrize("axis", [3, -4])
def test_an_axis_that_the_input_has_not_is_refused(axis: int) -> None:
    with pytest.raises(InputError, match=r"axis must be one of the input's; got axis -?\d, input"):
        ops.batch_norm_training(torch.zeros(2, 3, 4), None, None, axis=axis, decay=1, correction=0)
