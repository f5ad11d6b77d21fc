"""Dense layers of an accelerated model are 1x1 convolutions with the weights arranged once."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscape.layers.torch import accelerate
from convscape.layers.torch.fused import FusedLinear


def _error(got: Tensor, want: Tensor) -> float:
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    return float((got - want).detach().abs().max()) if want.numel() else 0.0


def _behind(after: nn.Module | None, bias: bool = True) -> nn.Sequential:
    first = nn.Linear(37, 53, bias=bias)
    return nn.Sequential(first, *([after] if after else []), nn.Linear(53, 70)).eval()


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("after", [None, nn.ReLU(), nn.ReLU6(), nn.Tanh()], ids=repr)
def test_dense_layers_and_what_follows_compute_the_models_own(
    after: nn.Module | None, bias: bool, rows: int
) -> None:
    model = _behind(after, bias)
    fast, x = accelerate(model), 9 * torch.randn(rows, 37)
    layers = [m for m in fast.modules() if isinstance(m, FusedLinear)]
    assert len(layers) == 2
    bounds: dict[Any, bool | float] = {nn.ReLU: True, nn.ReLU6: 6.0}
    assert layers[0].relu == bounds.get(type(after), False)
    for _ in range(4):  # layer by layer, recorded, and played
        y = fast(x)
        assert _error(y, model(x)) < 1e-5
        assert y.is_contiguous()


@pytest.mark.parametrize("rows", range(1, 14))
def test_sums_of_several_pieces_are_right_for_any_few_rows(rows: int) -> None:
    # Weights of so few rows are streamed, by tiles of two, four and six rows; thirteen are more.
    # In 780 draws the errors' RMS was 2.8e-7 in the mean and 3.3e-7 at most; the largest error of
    # a draw says less: in 1,200 it was up to 2.6e-6, and torch's own 3.0e-6.
    layer = nn.Linear(700, 130)
    x = torch.randn(rows, 700)
    want = layer.double()(x.double()).detach()
    y = accelerate(layer.float())(x)
    rms = float(want.square().mean().sqrt())
    assert _error(y.double(), want) < 4e-6 * rms
    assert float((y.double() - want).square().mean().sqrt()) < 4e-7 * rms


@pytest.mark.parametrize("shape", [(37,), (2, 3, 37), (2, 3, 5, 37)], ids=str)
def test_inputs_that_are_no_rows_are_the_stock_layers(shape: tuple[int, ...]) -> None:
    model, x = _behind(nn.ReLU()), torch.randn(shape)
    assert _error(accelerate(model)(x), model(x)) < 1e-6


@pytest.mark.parametrize(
    "laid",
    [
        lambda x: x.repeat(1, 2)[:, ::2],
        lambda x: x.t().contiguous().t(),
        lambda x: x[:1].expand(4, -1),
    ],
    ids=["with gaps", "turned", "expanded"],
)  # fmt: skip
def test_rows_may_have_any_strides(laid: Any) -> None:
    model, x = _behind(nn.ReLU()), laid(torch.randn(4, 37))
    assert _error(accelerate(model)(x), model(x)) < 1e-5


def test_half_precision_float64_and_autocast_keep_their_types() -> None:
    x = torch.randn(3, 37)
    for dtype, limit in ((torch.float64, 1e-12), (torch.bfloat16, 1e-9)):
        model = _behind(nn.ReLU()).to(dtype)
        assert _error(accelerate(model)(x.to(dtype)), model(x.to(dtype))) < limit
    model = _behind(nn.ReLU())
    with torch.autocast("cpu", torch.bfloat16):
        assert _error(accelerate(model)(x), model(x)) < 1e-9


def test_weights_that_are_written_to_are_arranged_again() -> None:
    fast, x = accelerate(_behind(None)), torch.randn(3, 37)
    for _ in range(4):
        fast(x)
    again = _behind(None)
    with torch.no_grad():
        for own, new in zip(fast.parameters(), again.parameters(), strict=True):
            own.copy_(new)
    assert _error(fast(x), again(x)) < 1e-5


def test_wrong_features_are_refused_as_torch_refuses_them() -> None:
    fast = accelerate(_behind(None))
    fast(torch.randn(3, 37))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fast(torch.randn(3, 36))


def test_a_layer_called_twice_is_rectified_only_where_it_was() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.dense(torch.relu(self.dense(x)))
            return y

    model, x = Twice().eval(), torch.randn(4, 5)
    assert float(model(x).detach().min()) < 0
    assert _error(accelerate(model)(x), model(x)) < 1e-6
