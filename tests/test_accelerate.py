"""Accelerated models against the models they are of."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from convscape import InputError
from convscape.bench import networks
from convscape.layers.torch import accelerate, convert
from convscape.layers.torch.fused import Call, FusedBatchNorm2d, FusedConv2d
from tests.cases import channels_last, contiguous, error
from tests.torch_support import image, shaken, small


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


def test_arguments_that_have_a_name_only_are_refused_by_position() -> None:
    class Named(Cases.Base):
        def forward(self, x: Any, *, by: float = 2.0) -> Any:
            return self.conv(x) * by

    made, x = accelerate(Named().eval()), image(2, 4, 8, 9)
    assert torch.equal(made(x), made(x, by=2.0))
    with pytest.raises(TypeError, match="positional"):
        made(x, 2.0)


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
