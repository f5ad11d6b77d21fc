"""torch modules: shapes, parameters and MACs against torch's own and fvcore's."""

import logging
from typing import Any

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from convscape.arithmetic import InputError
from convscape.arithmetic.network import Network
from convscape.readers import torch as reader
from convscape.readers import trace

logging.getLogger("fvcore").setLevel(logging.ERROR)


class Logits(nn.Module):
    """A model of transformers with a plain tensor as its output, as fvcore needs it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.model(x).logits
        return out


def resnet() -> Any:
    from transformers import ResNetConfig, ResNetForImageClassification

    return ResNetForImageClassification(ResNetConfig())


def convnext() -> Any:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return ConvNextForImageClassification(ConvNextConfig())


@pytest.fixture(scope="module", params=[resnet, convnext], ids=["resnet", "convnext"])
def transformer(request: pytest.FixtureRequest) -> tuple[nn.Module, Network]:
    torch.manual_seed(0)
    model = Logits(request.param()).eval()
    return model, trace(model, (3, 96, 128))


def real_shapes(model: nn.Module, x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """The output shape of every module without children, from running the model."""
    seen: dict[str, tuple[int, ...]] = {}

    def hook(name: str) -> Any:
        def after(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                seen[name] = tuple(output.shape)

        return after

    handles = [m.register_forward_hook(hook(n)) for n, m in model.named_modules()
               if not any(m.children())]  # fmt: skip
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return seen


def conv_macs(model: nn.Module, x: torch.Tensor) -> int:
    """What fvcore counts for convolutions; it counts a multiply-accumulate as one."""
    analysis = FlopCountAnalysis(model, x).unsupported_ops_warnings(False)
    analysis.uncalled_modules_warnings(False)
    return int(analysis.by_operator()["conv"])


def test_shapes_and_parameters_of_a_transformer_agree_with_torch(
    transformer: tuple[nn.Module, Network],
) -> None:
    model, network = transformer
    assert network.totals.unknown == 0
    assert network.totals.params == sum(p.numel() for p in model.parameters())
    assert network.totals.buffers == sum(b.numel() for b in model.buffers())
    shapes = real_shapes(model, torch.zeros(1, 3, 96, 128))
    compared = 0
    for node in network.layers:
        if node.name in shapes:
            assert node.shape == shapes[node.name], node.name
            compared += 1
    assert compared > 50


def test_macs_of_a_transformers_convolutions_agree_with_fvcore(
    transformer: tuple[nn.Module, Network],
) -> None:
    model, network = transformer
    ours = sum(n.macs for n in network.layers if n.op == "conv")
    assert ours == conv_macs(model, torch.zeros(1, 3, 96, 128))


def test_the_published_field_of_resnet_50(transformer: tuple[nn.Module, Network]) -> None:
    """427 with the strides on the 3x3 layers (v1.5); Araujo et al. give 483 for those on 1x1."""
    model, network = transformer
    if "ResNet" not in type(model.model).__name__:
        pytest.skip("another network")
    last = [n for n in network.layers if len(n.shape or ()) == 4 and network.jump(n)[0]][-1]
    assert network.local_field(last) == (427, 427)


def zoo() -> list[tuple[str, nn.Module, tuple[int, ...]]]:
    """A module for each rule, with the shape of a sample."""
    image, row, volume = (4, 13, 11), (4, 15), (2, 6, 7, 8)
    return [
        ("conv", nn.Conv2d(4, 6, (3, 2), 2, 1), image),
        ("conv-same", nn.Conv2d(4, 6, 4, padding="same", dilation=2), image),
        ("conv-reflect", nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), image),
        ("conv-grouped", nn.Conv2d(4, 8, 3, groups=2, bias=False), image),
        ("conv-depthwise", nn.Conv2d(4, 8, 3, groups=4), image),
        ("conv1", nn.Conv1d(4, 3, 5, 3, 2), row),
        ("conv3", nn.Conv3d(2, 3, 3, 2, 1), volume),
        ("up", nn.ConvTranspose2d(4, 6, 3, 2, 1, 1), image),
        ("up-grouped", nn.ConvTranspose2d(4, 6, 4, (3, 2), 1, groups=2, dilation=2), image),
        ("up1", nn.ConvTranspose1d(4, 2, 2, 3), row),
        ("up-stride-1", nn.ConvTranspose2d(4, 6, 3, 1, 1), image),
        ("max", nn.MaxPool2d(3, 2, 1, ceil_mode=True), image),
        ("max-dilated", nn.MaxPool2d(2, dilation=2), image),
        ("average", nn.AvgPool2d((3, 2), 3, (1, 0), ceil_mode=True), image),
        ("lp", nn.LPPool2d(2, 3, 2), image),
        ("adaptive", nn.AdaptiveAvgPool2d((5, None)), image),
        ("adaptive-max", nn.AdaptiveMaxPool1d(3), row),
        ("norm", nn.BatchNorm2d(4), image),
        ("norm-plain", nn.BatchNorm2d(4, affine=False, track_running_stats=False), image),
        ("instance", nn.InstanceNorm2d(4, affine=True), image),
        ("group", nn.GroupNorm(2, 4), image),
        ("layer", nn.LayerNorm([13, 11]), image),
        ("prelu", nn.PReLU(4), image),
        ("pad", nn.ReflectionPad2d((1, 2, 3, 0)), image),
        ("zero-pad", nn.ZeroPad2d(-1), image),
        ("upsample", nn.Upsample(scale_factor=2, mode="bilinear"), image),
        ("upsample-size", nn.Upsample((20, 5)), image),
        ("shuffle", nn.PixelShuffle(2), image),
        ("flatten", nn.Flatten(1, 2), image),
        ("unflatten", nn.Unflatten(1, (2, 2)), image),
        ("linear", nn.Linear(11, 3), image),
        ("softmax", nn.Softmax(1), image),
        ("hardswish", nn.Hardswish(), image),
    ]


@pytest.mark.parametrize("method", ["fx", "export", "hooks"])
def test_every_rule_agrees_with_torch_however_it_is_read(method: str) -> None:
    for name, module, shape in zoo():
        model = nn.Sequential(module).eval()
        network = trace(model, shape, batch=2, method=method)
        x = torch.rand(2, *shape)
        with torch.no_grad():
            wanted = tuple(model(x).shape)
        last = network.nodes[network.outputs[0]]
        assert last.problem == "", (name, last.problem)
        assert last.shape == wanted, name
        assert network.totals.params == sum(p.numel() for p in model.parameters()), name
        assert network.totals.buffers == sum(b.numel() for b in model.buffers()), name
        # fvcore does not know the operator that torch uses for padding="same".
        if isinstance(module, nn.modules.conv._ConvNd) and module.padding != "same":
            assert network.totals.macs == conv_macs(model, x), name


class Functions(nn.Module):
    """Sizes computed from shapes, slices, views and in-place operations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.mean = nn.Buffer(torch.zeros(1, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c = x.shape[0], x.size(1)
        y = torch.relu_(self.conv(x - self.mean)) * self.scale
        a, b = y.chunk(2, dim=1)
        y = torch.cat([a[:, :, 1:-1:2], b[..., 1:-1:2, :]], dim=1)
        y = nn.functional.interpolate(y, scale_factor=2.0).permute(0, 2, 3, 1)
        y = y.reshape(n, -1, 8).transpose(1, 2)
        y = torch.stack([y, y], dim=1).mean(dim=(1, 3)).unsqueeze(-1).squeeze(-1)
        return (y @ y.t()).softmax(dim=-1) + y.view(n, 8).sum() / c


@pytest.mark.parametrize("method", ["fx", "export"])
def test_functions_methods_and_sizes_are_followed(method: str) -> None:
    model = Functions()
    network = trace(model, (3, 10, 12), method=method)
    assert [n.name for n in network.layers if n.problem] == []
    assert network.nodes[network.outputs[0]].shape == tuple(model(torch.rand(1, 3, 10, 12)).shape)
    assert network.totals.params == sum(p.numel() for p in model.parameters())
    assert network.totals.buffers == 3


class Branching(nn.Module):
    """Control flow on numbers, which neither fx nor export can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        if type(y) is nn.Parameter:
            raise ValueError("never")
        y = y.tanh() if len(list(y)) == 1 else y
        out: torch.Tensor = self.second(y)
        return out


def test_hooks_follow_modules_and_say_what_they_do_not_see() -> None:
    network = trace(Branching(), (1, 9, 9), method="hooks")
    assert [n.op for n in network.layers] == ["conv", "functions", "conv"]
    assert "hooks" in network.layers[1].problem
    assert network.layers[-1].shape == (1, 2, 5, 5)


def test_what_fx_cannot_follow_export_does() -> None:
    class Checks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[1] != 1:
                raise ValueError("one channel")
            out: torch.Tensor = self.conv(x)
            return out

    network = trace(Checks(), (1, 9, 9))
    assert network.method == "export"
    assert network.totals.unknown == 0


def test_an_unknown_module_is_named_counted_and_passed_by_export() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.lstm, self.out = (
                nn.Conv1d(2, 3, 3),
                nn.LSTM(3, 4, batch_first=True),
                nn.Linear(4, 2),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y, _ = self.lstm(self.conv(x).transpose(1, 2))
            out: torch.Tensor = self.out(y)
            return out

    model = Rows()
    by_fx = trace(model, (2, 10), method="fx")
    assert "LSTM" in by_fx.node("lstm").problem
    assert by_fx.node("lstm").params == sum(p.numel() for p in model.lstm.parameters())
    assert by_fx.totals.params == sum(p.numel() for p in model.parameters())
    network = trace(model, (2, 10))
    assert network.method == "export"
    assert any("lstm" in n.problem for n in network.layers)
    last = network.nodes[network.outputs[0]]
    assert (last.op, last.shape, last.macs) == ("dense", (1, 8, 2), 8 * 4 * 2)


def test_a_module_with_its_own_forward_is_not_taken_for_its_base() -> None:
    class Odd(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input)[:, :1]

    network = trace(nn.Sequential(Odd(1, 4, 3)), (1, 8, 8))
    assert network.nodes[network.outputs[0]].shape == (1, 1, 6, 6)


def test_tracing_leaves_the_module_as_it_is() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    model[2].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for method in reader.METHODS:
        trace(model, (1, 8, 8), method=method)
    assert [m.training for m in model] == [True, True, False]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not model[0]._forward_hooks


def test_tied_and_unread_weights_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.spare = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.b(self.a(x))
            return out

    model = Tied()
    for method in reader.METHODS:
        network = trace(model, (4,), method=method)
        assert network.totals.params == sum(p.numel() for p in model.parameters()), method


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: trace(nn.Conv2d(3, 4, 3)), "--input"),
        (lambda: trace(nn.Conv2d(3, 4, 3), (4, 8, 8)), "3 channels"),
        (lambda: trace(nn.Conv2d(3, 4, 3), (1, 3, 8, 8)), "batch"),
        (lambda: trace(nn.Conv2d(3, 4, 9), (3, 8, 8)), "fit"),
        (lambda: trace(nn.Conv2d(3, 4, 3), (3, 8, 8), method="guess"), "one of fx"),
        (lambda: trace(nn.Conv2d(3, 4, 3), (3, 8, 8), batch=0), "at least 1"),
        (lambda: trace(nn.LSTM(3, 4), (3, 8), method="fx"), "LSTM"),
        (lambda: trace(object(), (3, 8, 8)), "builtins.object"),
        (lambda: trace("net.pt"), "exist"),
    ],
)
def test_bad_input_is_one_clear_error(call: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        call()
    assert "\n" not in str(error.value)
