"""The ops inside `torch.compile`: one graph, the same numbers, the same gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from convscape import ops
from convscape.ops import compiled, compiled_conv
from tests.cases import error


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensors(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, requires_grad=True) for s in shapes]


CALLS: tuple[tuple[str, Callable[..., Any], tuple[tuple[int, ...], ...]], ...] = (
    ("conv2d", lambda x, w, b: ops.conv2d(x, w, b, 2, "same"), ((2, 4, 7, 8), (6, 4, 3, 3), (6,))),
    ("conv2d_groups", lambda x, w: ops.conv2d(x, w, None, 1, ((0, 1), (2, 0)), (1, 2), 2),
     ((2, 4, 7, 8), (6, 2, 3, 2))),
    ("conv_transpose2d", lambda x, w, b: ops.conv_transpose2d(x, w, b, 2, 1, 1),
     ((2, 4, 7, 8), (4, 6, 3, 3), (6,))),
    ("conv_transpose2d_groups",
     lambda x, w: ops.conv_transpose2d(x, w, None, (1, 2), ((0, 1), (2, 0)), (1, 0), 2, (2, 1)),
     ((2, 4, 7, 8), (4, 3, 3, 2))),
    ("max_pool2d", lambda x: ops.max_pool2d(x, 3, 2, 1, ceil_mode=True), ((2, 3, 8, 7),)),
    ("avg_pool2d", lambda x: ops.avg_pool2d(x, (2, 3), None, (1, 0), True, False), ((2, 3, 8, 7),)),
    ("batch_norm_training", lambda x, w, b: ops.batch_norm(x, None, None, w, b, True),
     ((4, 3, 5, 5), (3,), (3,))),
    ("batch_norm_axis",
     lambda x, w: ops.batch_norm_training(x, None, None, w, axis=-1, decay=1.0, correction=0),
     ((4, 5, 5, 3), (3,))),
    ("batch_norm_plain", lambda x: ops.batch_norm(x, None, None, training=True), ((4, 3),)),
    ("batch_norm_inference",
     lambda x, w, b: ops.batch_norm(x, torch.ones(3), torch.full((3,), 2.0), w, b),
     ((4, 3, 5, 5), (3,), (3,))),
    ("batch_norm_relu", lambda x, w: ops.batch_norm(x, None, None, w, None, True, relu=True),
     ((4, 3, 5, 5), (3,))),
    ("batch_norm_residual",
     lambda x, w, b, r: ops.batch_norm(x, None, None, w, b, True, relu=True, residual=r),
     ((4, 3, 5, 5), (3,), (3,), (4, 3, 5, 5))),
    ("batch_norm_inference_residual",
     lambda x, r: ops.batch_norm(x, torch.ones(3), torch.ones(3), residual=r),
     ((4, 3, 5, 5), (4, 3, 5, 5))),
)  # fmt: skip


@pytest.mark.parametrize(("name", "call", "shapes"), CALLS, ids=[c[0] for c in CALLS])
def test_a_compiled_op_is_one_graph_with_the_same_numbers(
    name: str, call: Callable[..., Any], shapes: Any
) -> None:
    inputs = tensors(*shapes)
    eager = call(*inputs)
    got = torch.compile(call, backend="aot_eager", fullgraph=True)(*inputs)
    dy = torch.randn(eager.shape)
    assert error(got.detach(), eager.detach()) < 1e-6
    pairs = zip(
        torch.autograd.grad(got, inputs, dy), torch.autograd.grad(eager, inputs, dy), strict=True
    )
    for a, b in pairs:
        assert error(a, b) < 1e-5


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_a_compiled_convolution_in_half_precision_is_torchs(name: str) -> None:
    inputs = [t.detach().bfloat16().requires_grad_() for t in tensors((2, 4, 5, 6), (4, 4, 3, 3))]
    mine, theirs = getattr(ops, name), getattr(torch.nn.functional, name)
    y = torch.compile(lambda x, w: mine(x, w, None, 2, 1), backend="aot_eager")(*inputs)
    want = theirs(*inputs, None, 2, 1)
    assert torch.equal(y, want)
    got, exact = (torch.autograd.grad(z, inputs, torch.ones_like(want)) for z in (y, want))
    for a, b in zip(got, exact, strict=True):
        torch.testing.assert_close(a, b)


def test_a_compiled_average_in_half_precision_has_its_gradient() -> None:
    x = torch.randn(2, 3, 8, 7).bfloat16().requires_grad_()
    y = torch.compile(lambda x: ops.avg_pool2d(x, 2), backend="aot_eager")(x)
    (dx,) = torch.autograd.grad(y.sum(), x)
    want = torch.autograd.grad(torch.nn.functional.avg_pool2d(x, 2).sum(), x)[0]
    assert torch.equal(dx, want)


def test_compiled_training_moves_the_running_statistics() -> None:
    (x,) = tensors((6, 3, 4, 4))
    states = []
    for compile_it in (False, True):
        mean, var = torch.zeros(3), torch.ones(3)

        def step(x: torch.Tensor, mean: torch.Tensor = mean, var: torch.Tensor = var) -> Any:
            return ops.batch_norm(x, mean, var, training=True)

        (torch.compile(step, backend="aot_eager") if compile_it else step)(x)
        states.append((mean, var))
    for a, b in zip(*states, strict=True):
        torch.testing.assert_close(a, b)


def test_the_registered_ops_keep_their_promises() -> None:
    x, w, b = tensors((2, 4, 7, 8), (6, 4, 3, 3), (6,))
    given = [2, 1], "", [1, 0, 1, 1]
    torch.library.opcheck(compiled_conv.conv2d, (x, w, b, *given, [1, 1], 1, "auto"))
    x, w = (t.to(memory_format=torch.channels_last) for t in (x, w))
    torch.library.opcheck(
        compiled_conv.conv2d, (x, w, b, [1, 1], "same", [], [1, 1], 1, "winograd")
    )
    turned = tensors((2, 6, 4, 5), (6, 2, 3, 3), (4,))
    torch.library.opcheck(
        compiled_conv.conv_transpose2d, (*turned, *given, [1, 0], 2, [1, 1], "auto")
    )
    torch.library.opcheck(
        compiled.max_pool2d, (x, [2, 3], [2, 1], "valid", [], [1, 1], False, "auto")
    )
    torch.library.opcheck(
        compiled.avg_pool2d, (x, [2, 3], [2, 1], "valid", [], False, True, None, "auto")
    )
    gamma, beta = tensors((4,), (4,))
    for residual, relu in ((None, False), (None, True), (torch.randn_like(x), True)):
        fused = gamma, beta, residual, 1e-5, relu, "auto"
        torch.library.opcheck(compiled.batch_norm_moments, (x, *fused))
        mean, var = torch.zeros(4), torch.ones(4)
        torch.library.opcheck(compiled.batch_norm_inference, (x, mean, var, *fused))
