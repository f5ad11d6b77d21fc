"""The torch modules against torch's own, and accelerated models against the models they are of."""

import copy
import doctest
import importlib
import io
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from convscape import InputError
from convscape.bench import networks
from convscape.layers import torch as layers
from convscape.layers.torch import accelerate, convert
from convscape.layers.torch.fused import Call, FusedBatchNorm2d, FusedConv2d
from tests.cases import channels_last, contiguous, error

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


def image(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


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


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(8, 6, 3), nn.ReLU(inplace=True), nn.AvgPool2d(2),
        nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip


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


# --- accelerate ----------------------------------------------------------------------------------


def shaken(model: Any) -> Any:
    """Running statistics and affine parameters that folding must not forget."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            for t in (module.running_var, module.weight, module.running_mean, module.bias):
                if t is not None:
                    t.data = torch.rand(t.shape, generator=generator) / 2 + 0.75
            assert module.running_mean is not None
            module.running_mean -= 0.75
    return model


def kinds(model: Any) -> list[str]:
    """What an accelerated model calls, in order."""
    graph = model.traced.graph
    names = []
    for node in graph.nodes:
        if node.op == "call_module":
            module = model.traced.get_submodule(node.target)
            name = module.function.__name__ if isinstance(module, Call) else type(module).__name__
            fused = isinstance(module, FusedConv2d | FusedBatchNorm2d | Call) and module.relu
            names.append(name + "+relu" * bool(fused) + "_" * getattr(module, "inplace", False))
        elif node.op in ("call_function", "call_method"):
            target = getattr(node.target, "__name__", node.target)
            names.append(target + "_" * bool(node.kwargs.get("inplace")))
    return names


def same(model: nn.Module, *given: torch.Tensor) -> Any:
    """The accelerated model, after its results were compared with the model's in both orders.

    More than once: first it computes, then it records, then it plays what it recorded.
    """
    model = shaken(model)
    before = copy.deepcopy(model.state_dict())
    training = model.training
    made = accelerate(model)
    assert model.training == training
    model.eval()
    for order in (contiguous, channels_last, contiguous):
        laid = [order(x) if x.dim() == 4 else x for x in given]
        kept = [x.clone() for x in laid]
        with torch.no_grad():
            wants, gots = model(*[x.clone() for x in given]), made(*laid)
        for a, b in zip(laid, kept, strict=True):
            assert torch.equal(a, b), "the input was changed"
        if isinstance(wants, torch.Tensor):
            wants, gots = (wants,), (gots,)
        for got, want in zip(gots, wants, strict=True):
            assert error(got, want) < 1e-4
            assert got.is_contiguous() or not want.is_contiguous() or order is channels_last
            assert not got.requires_grad
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    return made


@pytest.mark.parametrize(
    ("name", "side"), [("ResNet-50", 48), ("Inception-v3", 80), ("MobileNet-v2", 48)]
)
def test_networks_are_accelerated_whole(name: str, side: int) -> None:
    made = same(networks.network(name), image(1, 3, side, side))
    called = kinds(made)
    assert not {"BatchNorm2d", "FusedBatchNorm2d", "Conv2d", "Dropout", "add", "relu"} & {*called}
    if name == "Inception-v3":
        assert not any("ReLU" in k for k in called)


def test_vgg_is_accelerated_whole() -> None:
    # The features; the dense layers of half a gigabyte are torch's in any case.
    features = networks.network("VGG-16")[:31]  # type: ignore[index]
    made = same(features, image(1, 3, 32, 32))
    assert {*kinds(made)} == {"FusedConv2d+relu", "MaxPool2d"}


def test_the_parts_of_a_model_that_cannot_be_traced_whole() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="bottleneck"
    )
    model = shaken(transformers.ResNetForImageClassification(config).eval())
    x = image(1, 3, 32, 32)
    with pytest.raises(InputError, match=r"torch\.fx can trace.*control flow.*convert"):
        accelerate(model)
    made = copy.deepcopy(model)
    made.resnet.embedder.embedder = accelerate(made.resnet.embedder.embedder)
    for k, stage in enumerate(made.resnet.encoder.stages):
        made.resnet.encoder.stages[k] = accelerate(stage)
    whole = convert(copy.deepcopy(model))
    with torch.no_grad():
        want = model(x).logits
        for y in (made(x), made(channels_last(x)), whole(x)):
            assert error(y.logits, want) < 1e-4


class Cases:
    """Small models, each with one thing that is easily done wrong."""

    class Base(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.other = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 6, 1, bias=False)
            self.norm, self.relu = nn.BatchNorm2d(6), nn.ReLU()
            self.loud = nn.ReLU(inplace=True)

    class ReluTwice(Base):
        """One ReLU module, called behind two convolutions and alone."""

        def forward(self, x: Any) -> Any:
            return self.relu(self.other(self.relu(self.conv(self.relu(x)))) - 0.5)

    class TwoUsers(Base):
        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return self.relu(y) - y

    class TwoUsersLoud(Base):
        """The ReLU changes what the other user reads."""

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            z = self.loud(y)
            return z + 2 * y, torch.relu_(z - 1) + y

    class ConvTwice(Base):
        """One convolution, called twice, once with normalization behind it."""

        def forward(self, x: Any) -> Any:
            y = self.norm(self.other(self.conv(x)))
            return self.relu(self.other(y)) + self.norm(y)

    class Shared(Base):
        """One convolution and one ReLU in two places, where different things follow and precede."""

        def forward(self, x: Any) -> Any:
            y = self.relu(self.other(self.conv(x)))
            z = self.other(y) - 0.1
            w = self.relu(torch.cat([z, z]))
            return self.relu(z)[0] + z + w[:2]

    class Residual(Base):
        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            z = self.norm(y)
            z += y
            return self.relu(z)

    class Broadcast(Base):
        """A sum whose result is larger than its first part."""

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            small = self.other(functional.adaptive_avg_pool2d(y, 1))
            return self.relu(small + y), self.norm(y.mean((2, 3), keepdim=True).relu()) + y

    class ChangedBetween(Base):
        """What the normalization read changes before the sum."""

        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            z = self.norm(y)
            y.mul_(2)
            return torch.relu(z + y)

    class Calls(Base):
        """The same, written with functions."""

        def forward(self, x: Any) -> Any:
            y = functional.relu(functional.conv2d(x, self.conv.weight, self.conv.bias, padding=1))
            y = functional.max_pool2d(y, 3, 2, 1)
            y = torch.conv2d(y, self.other.weight).relu()
            y = functional.avg_pool2d(y, kernel_size=2)
            n = self.norm
            y = functional.batch_norm(y, n.running_mean, n.running_var, n.weight, n.bias)
            y = functional.dropout(torch.relu(y), 0.5, self.training)
            return functional.adaptive_avg_pool2d(y, (1, 2)).view(x.size(0), -1)

    class Views(Base):
        def forward(self, x: Any) -> Any:
            y = self.conv(x)
            return (
                y.view(y.size(0), -1), y.flatten(1), y.reshape(-1), y.view(-1, 2, 3, 8, 9).sum(2),
                y.permute(0, 2, 3, 1), y.view(torch.int32),
            )  # fmt: skip

    class Defaults(Base):
        def forward(self, x: Any, mask: Any = None, flag: bool = False, *, by: float = 2.0) -> Any:
            y = self.conv(x)
            y = y if mask is None else y * mask
            return self.relu(-y if flag else y) * by

    class Hooked(Base):
        """A hook sees its layer's own result."""

        def __init__(self) -> None:
            super().__init__()
            self.conv.register_forward_hook(lambda module, given, y: y + 1)

        def forward(self, x: Any) -> Any:
            return self.relu(self.norm(self.conv(x)))

    class NoStatistics(Base):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(6, track_running_stats=False)

        def forward(self, x: Any) -> Any:
            return self.relu(self.norm(self.conv(x)))

    class Bounded(Base):
        def __init__(self) -> None:
            super().__init__()
            self.six, self.near = nn.ReLU6(), nn.Hardtanh(0.0, 0.5)
            self.both, self.twice = nn.Hardtanh(), nn.ReLU6()

        def forward(self, x: Any) -> Any:
            y = self.near(self.other(self.six(self.norm(self.conv(x)))))
            y = functional.conv2d(y, self.other.weight)
            return self.both(self.other(self.twice(functional.relu6(y))))

    class Reflect(Base):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")
            self.up = nn.ConvTranspose2d(6, 5, 2, 2, bias=False)
            self.after = nn.BatchNorm2d(5)

        def forward(self, x: Any) -> Any:
            return functional.relu6(self.after(self.up(self.relu(self.norm(self.conv(x))))))


CASES: dict[str, list[str]] = {
    "ReluTwice": ["ReLU", "FusedConv2d+relu", "FusedConv2d", "sub", "ReLU"],
    "TwoUsers": ["FusedConv2d", "ReLU", "sub"],
    "TwoUsersLoud": ["FusedConv2d", "ReLU_", "mul", "add", "sub", "relu_", "add"],
    "ConvTwice": ["FusedConv2d", "FusedConv2d", "FusedConv2d+relu", "FusedBatchNorm2d"],
    "Shared": [
        "FusedConv2d", "FusedConv2d+relu", "FusedConv2d", "sub", "cat", "ReLU_", "ReLU", "getitem",
        "add", "getitem", "add_into",
    ],
    "Residual": ["FusedConv2d", "FusedBatchNorm2d+relu"],
    "Broadcast": [
        "FusedConv2d", "adaptive_avg_pool2d", "FusedConv2d", "add_into+relu", "mean", "relu",
        "FusedBatchNorm2d",
    ],
    "ChangedBetween": ["FusedConv2d", "FusedBatchNorm2d", "mul_", "add_into+relu"],
    "Calls": [
        "conv2d+relu", "max_pool2d", "conv2d+relu", "avg_pool2d", "batch_norm+relu",
        "adaptive_avg_pool2d", "size", "reshape",
    ],
    "Views": ["FusedConv2d", "size", "reshape", "flatten", "reshape", "reshape", "sum", "permute",
              "view"],
    "Hooked": ["Conv2d", "FusedBatchNorm2d+relu"],
    "NoStatistics": ["FusedConv2d", "FusedBatchNorm2d+relu"],
    "Bounded": ["FusedConv2d+relu", "FusedConv2d+relu", "conv2d+relu", "ReLU6_", "FusedConv2d",
                "Hardtanh_"],
    "Reflect": ["FusedConv2d+relu", "ConvTranspose2d", "relu6_"],
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_fused_and_what_must_not_be(name: str) -> None:
    made = same(getattr(Cases, name)(), image(2, 4, 8, 9))
    assert kinds(made) == CASES[name]


def test_arguments_keep_their_defaults() -> None:
    model = Cases.Defaults().eval()
    made, x = same(model, image(2, 4, 8, 9)), image(2, 4, 8, 9)
    assert torch.equal(made(x=x, mask=None, by=2.0), made(x))
    with pytest.raises(AssertionError, match="flag"):
        made(x, None, True)


def test_layers_are_folded_with_and_without_a_bias() -> None:
    for bias in (True, False):
        norm = nn.BatchNorm2d(6)
        made = same(nn.Sequential(nn.Conv2d(4, 6, 3, bias=bias), norm, nn.ReLU()),
                    image(2, 4, 8, 9))  # fmt: skip
        assert kinds(made) == ["FusedConv2d+relu"]
    for layer in (norm, nn.Conv2d(6, 3, 3), nn.ReLU()):
        same(layer, image(2, 6, 8, 9))


def test_the_model_itself_is_left_as_it_was() -> None:
    model = shaken(small()).train()
    convert(model)
    classes = [type(m) for m in model.modules()]
    made = accelerate(model)
    assert [type(m) for m in model.modules()] == classes
    assert model.training
    assert not made.training
    assert not made.train().training
    x = image(2, 3, 12, 12)
    want = made(x)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()  # nothing is shared
    assert torch.equal(made(x), want)


def test_an_accelerated_model_is_copied_and_saved() -> None:
    made, x = accelerate(shaken(Cases.Residual())), image(2, 4, 8, 9)
    calls = accelerate(shaken(Cases.Calls()))
    for model in (made, calls):
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        again: Any = torch.load(file, weights_only=False)
        for other in (again, copy.deepcopy(model), accelerate(model)):
            assert kinds(other) == kinds(model)
            assert error(other(x), model(x)) < 1e-6


def test_a_model_that_follows_its_numbers_is_refused_with_the_reason() -> None:
    class Branching(nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(InputError, match=r"got TraceError: symbolically traced .* use convert"):
        accelerate(Branching())


@pytest.mark.parametrize("name", ["modules", "convert", "accelerate"])
def test_the_examples_run(name: str) -> None:
    module = importlib.import_module(f"convscape.layers.torch.{name}")
    result = doctest.testmod(module, extraglobs={"torch": torch})
    assert result.attempted > 0
    assert result.failed == 0


def test_an_accelerated_model_follows_weights_that_are_loaded_into_it() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 3, stride=2)).eval()
    other = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 3, 3, stride=2)).eval()
    fast, x = accelerate(model), torch.randn(2, 4, 9, 9)
    fast(x)  # packs the first weights
    fast.load_state_dict(accelerate(other).state_dict())
    torch.testing.assert_close(fast(x), other(x).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(copy.deepcopy(fast)(x), fast(x))
    assert len(pickle.dumps(fast)) < 20_000


def test_a_layer_that_keeps_convolutions_checks_inputs_that_are_unlike_the_first() -> None:
    x = channels_last(torch.randn(2, 8, 6, 6))
    layer = nn.Conv2d(8, 16, 1)
    kept = next(m for m in accelerate(layer).modules() if isinstance(m, FusedConv2d))
    others = channels_last(torch.randn(3, 8, 9, 5)), torch.randn(2, 8, 6, 6), x[:, :, ::2]
    with torch.no_grad():
        for other in (x, *others, x, torch.randn(8, 6, 6)):
            torch.testing.assert_close(kept(other), layer(other))
        with pytest.raises(InputError, match="input's dtype"):
            kept(x.double())
        with pytest.raises(InputError, match="weight must be"):
            kept(channels_last(torch.randn(2, 4, 6, 6)))
        kept.weight.mul_(2)
        torch.testing.assert_close(kept(x), functional.conv2d(x, kept.weight, kept.bias))
        kept.bias = nn.Parameter(torch.ones(16))
        torch.testing.assert_close(kept(x), functional.conv2d(x, kept.weight, kept.bias))
        kept.relu = True
        assert kept(x).min() == 0
