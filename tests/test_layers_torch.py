"""The torch modules against torch's own, and converted models against the models they were."""

import copy
import doctest
import importlib
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from convscape.layers import torch as layers
from convscape.layers.torch import convert
from tests.cases import channels_last, contiguous, error
from tests.torch_support import image, shaken, small

SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Conv2d", {"kernel_size": 3}),
    ("Conv2d", {"kernel_size": (2, 5), "stride": (2, 3), "padding": (1, 2), "bias": False}),
    ("Conv2d", {"kernel_size": (4, 3), "padding": "same", "dilation": 2}),
    ("Conv2d", {"kernel_size": 3, "padding": "valid", "groups": 2}),
    ("Conv2d", {"kernel_size": 3, "padding": 1, "groups": 6}),
    ("Conv2d", {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}),
    ("Conv2d", {"kernel_size": 3, "padding": 2, "padding_mode": "circular", "stride": 2}),
    ("ConvTranspose2d", {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("ConvTranspose2d", {"kernel_size": (2, 4), "stride": (3, 2), "output_padding": (2, 1)}),
    ("ConvTranspose2d", {"kernel_size": 3, "groups": 2, "dilation": 2, "bias": False}),
    ("MaxPool2d", {"kernel_size": 2}),
    ("MaxPool2d", {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0), "ceil_mode": True}),
    ("MaxPool2d", {"kernel_size": 3, "stride": 1, "dilation": 2}),
    ("AvgPool2d", {"kernel_size": 2}),
    ("AvgPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("AvgPool2d", {"kernel_size": (3, 2), "padding": (1, 0), "count_include_pad": False}),
    ("AvgPool2d", {"kernel_size": 3, "divisor_override": 5}),
    ("BatchNorm2d", {}),
    ("BatchNorm2d", {"momentum": None, "eps": 0.1}),
    ("BatchNorm2d", {"affine": False, "momentum": 0.5}),
    ("BatchNorm2d", {"track_running_stats": False}),
)


def stock(name: str, given: dict[str, Any]) -> Any:
    channels = {"BatchNorm2d": (6,), "Conv2d": (6, 6), "ConvTranspose2d": (6, 6)}.get(name, ())
    torch.manual_seed(0)
    return getattr(nn, name)(*channels, **given)


def ours(name: str, theirs: Any, given: dict[str, Any]) -> Any:
    channels = {"BatchNorm2d": (6,), "Conv2d": (6, 6), "ConvTranspose2d": (6, 6)}.get(name, ())
    made = getattr(layers, name)(*channels, **given)
    made.load_state_dict(theirs.state_dict())
    return made


def results(layer: Any, x: torch.Tensor) -> list[torch.Tensor]:
    """The output and all gradients."""
    x = x.detach().requires_grad_()
    y = layer(x)
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("order", [contiguous, channels_last], ids=lambda f: f.__name__)
@pytest.mark.parametrize(("name", "given"), SETTINGS, ids=str)
def test_every_module_is_the_stock_one_in_values_gradients_and_state(
    name: str, given: dict[str, Any], order: Any
) -> None:
    theirs = stock(name, given)
    mine = ours(name, theirs, given)
    assert repr(mine) == repr(theirs)
    for step in range(3):  # the running statistics move on
        x = order(image(3, 6, 9, 11, seed=step))
        for layer in (mine, theirs):
            layer.zero_grad()
        for got, want in zip(results(mine, x), results(theirs, x), strict=True):
            assert error(got, want) < 2e-5
    assert mine(x).stride() == theirs(x).stride()
    # Checkpoints go both ways, statistics and their counter included.
    assert mine.state_dict().keys() == theirs.state_dict().keys()
    for key, value in mine.state_dict().items():
        assert error(value, theirs.state_dict()[key]) < 1e-5, key
    theirs.load_state_dict(mine.state_dict())
    assert error(mine.eval()(x).detach(), theirs.eval()(x).detach()) < 1e-5


def test_images_without_a_batch_indices_and_output_sizes_are_torchs() -> None:
    x = image(4, 7, 9)
    conv = nn.Conv2d(4, 5, 3)
    assert error(convert(copy.deepcopy(conv))(x).detach(), conv(x).detach()) < 1e-5
    pools = [kind.MaxPool2d(3, 2, return_indices=True)(x) for kind in (layers, nn)]
    for got, want in zip(*pools, strict=True):
        assert torch.equal(got, want)
    theirs = nn.ConvTranspose2d(4, 3, 3, stride=2)
    mine = convert(copy.deepcopy(theirs))
    for size in ([15, 19], [16, 20]):
        got, want = (layer(x, output_size=size).detach() for layer in (mine, theirs))
        assert error(got, want) < 1e-5


def test_statistics_that_are_no_longer_tracked_stay() -> None:
    theirs = shaken(nn.Sequential(nn.BatchNorm2d(6)))[0]
    theirs.track_running_stats = False
    mine, x = convert(copy.deepcopy(theirs)), image(2, 6, 5, 5)
    assert error(mine(x).detach(), theirs(x).detach()) < 1e-5
    assert torch.equal(mine.running_mean, theirs.running_mean)
    assert error(mine.eval()(x).detach(), theirs.eval()(x).detach()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_computed_in_their_own(dtype: torch.dtype) -> None:
    x = image(2, 6, 8, 8, dtype=dtype)
    for name in ("Conv2d", "BatchNorm2d", "AvgPool2d"):
        theirs = stock(name, {} if name == "BatchNorm2d" else {"kernel_size": 3}).to(dtype)
        got = convert(copy.deepcopy(theirs))(x)
        assert got.dtype == dtype
        assert error(got.detach(), theirs(x).detach()) < (1e-12 if dtype == torch.float64 else 1e-6)


def test_autocast_and_tracing_see_torchs_ops() -> None:
    theirs = small().eval()
    mine, x = convert(copy.deepcopy(theirs)), image(2, 3, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        assert mine(x).dtype == theirs(x).dtype == torch.bfloat16
    # What follows a call sees torch's ops: nothing is kept as a constant, an export runs anywhere.
    other = image(2, 3, 12, 12, seed=1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        want = theirs(other)
        traced: Any = torch.jit.trace(mine, (x,))  # type: ignore[no-untyped-call]
        exported = torch.export.export(mine, (x,))
        assert not any("convscape" in str(n.target) for n in exported.graph.nodes)
        for got in (traced(other), exported.module()(other), torch.func.vmap(mine)(other[:, None])):
            assert error(got.reshape(want.shape), want) < 1e-5


def test_convert_changes_classes_and_nothing_else() -> None:
    class Own(nn.Conv2d):
        pass

    model: Any = nn.Sequential(small(), Own(3, 3, 1), nn.utils.parametrizations.weight_norm(
        nn.Conv2d(3, 3, 1)))  # fmt: skip
    seen: list[Any] = []
    model[0][0].register_forward_hook(lambda *_: seen.append(1))
    before = [*model.named_modules()], [*model.named_parameters()]
    assert convert(model) is model
    after = [*model.named_modules()], [*model.named_parameters()]
    for a, b in zip(before, after, strict=True):
        assert [(n, id(v)) for n, v in a] == [(n, id(v)) for n, v in b]
    changed = [type(m).__module__.startswith("convscape") for m in model[0]]
    assert changed == [True, True, False, True, True, False, True, True, False, False]
    assert type(model[1]) is Own
    assert not type(model[2]).__module__.startswith("convscape")
    model[0](image(1, 3, 12, 12))
    assert seen == [1]


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.ReLU(),
        nn.Conv2d(8, 4, 1, padding_mode="reflect"), nn.ReLU(), nn.ReLU6(),
    )  # fmt: skip


@pytest.mark.parametrize("watched", [None, 0, 1, 2, 3])
def test_a_converted_chain_takes_relu_along_unless_a_hook_watches(
    watched: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, models = image(2, 3, 9, 9), (chain(), convert(chain()))
    seen: list[Any] = []
    if watched is not None:
        for model in models:
            model[watched].register_forward_hook(lambda *given: seen.append(given[2].clone()))
    want = models[0](x)
    called: list[Any] = []

    def counted(self: nn.ReLU, y: Tensor) -> Tensor:
        called.append(self)
        return torch.relu(y)

    monkeypatch.setattr(nn.ReLU, "forward", counted)
    got = models[1](x)
    assert error(got.detach(), want.detach()) < 1e-5
    assert len(called) == 1 + (watched is not None)
    for want_seen, got_seen in zip(seen[::2], seen[1::2], strict=True):
        assert error(got_seen.detach(), want_seen.detach()) < 1e-5
    dy = torch.randn_like(want)
    pairs = zip(models, (want, got), strict=True)
    grads = [torch.autograd.grad(y, list(m.parameters()), dy) for m, y in pairs]
    assert all(error(b, a) < 1e-4 for a, b in zip(*grads, strict=True))


def test_a_converted_chain_calls_what_computes_something_else() -> None:
    class Negative(layers.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            return -super().forward(input)

    def patched(made: nn.Module) -> nn.Module:
        made.forward = lambda y: y - 1
        return made

    x = image(2, 3, 9, 9)
    for conv, relu in (
        (Negative(3, 4, 3), nn.ReLU()),
        (patched(layers.Conv2d(3, 3, 3)), nn.ReLU()),
        (layers.Conv2d(3, 4, 3), patched(nn.ReLU())),
    ):
        assert torch.equal(layers.Sequential(conv, relu)(x), relu(conv(x)))


def test_a_converted_model_is_copied_and_pickled() -> None:
    model, x = convert(small()).eval(), image(2, 3, 12, 12)
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [type(m) for m in again.modules()] == [type(m) for m in model.modules()]
        assert torch.equal(again(x), model(x))


@pytest.mark.parametrize("order", [contiguous, channels_last], ids=lambda f: f.__name__)
def test_a_converted_model_trains_as_before(order: Any) -> None:
    model = small()
    x, y = order(image(16, 3, 12, 12)), torch.arange(16) % 3
    histories = []
    for made in (copy.deepcopy(model), convert(copy.deepcopy(model))):
        optimizer = torch.optim.SGD(made.parameters(), 0.1)
        losses = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = functional.cross_entropy(made(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
        histories.append(losses)
    assert histories[1] == pytest.approx(histories[0], rel=1e-4)
    assert histories[0][-1] < histories[0][0]


def test_a_converted_model_is_compiled_whole() -> None:
    model = small()
    made = convert(copy.deepcopy(model))
    compiled: Any = torch.compile(made, backend="aot_eager", fullgraph=True)
    x = image(4, 3, 12, 12)
    for layer in (compiled, model):
        layer(x).square().sum().backward()
    for got, want in zip(made.parameters(), model.parameters(), strict=True):
        assert error(got.grad, want.grad) < 1e-4


@pytest.mark.parametrize("name", ["modules", "convert", "accelerate"])
def test_the_examples_run(name: str) -> None:
    module = importlib.import_module(f"convscape.layers.torch.{name}")
    result = doctest.testmod(module, extraglobs={"torch": torch})
    assert result.attempted > 0
    assert result.failed == 0
