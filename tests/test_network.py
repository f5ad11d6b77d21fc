"""Networks against real ones: cells read, shapes, MACs and memory, on random small graphs."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from convscape.arithmetic import InputError, Window
from convscape.arithmetic.builder import Builder, broadcast
from convscape.arithmetic.memory import memory
from convscape.arithmetic.network import Network, Weight
from convscape.readers import trace

LAW = settings(deadline=None, derandomize=True, max_examples=300)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """These tensors are too small to share out among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Branches(nn.Module):
    """Branches over one input that meet as a sum or side by side."""

    def __init__(self, branches: list[nn.Module], join: str) -> None:
        super().__init__()
        self.branches, self.join = nn.ModuleList(branches), join

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = [branch(x) for branch in self.branches]
        if self.join == "cat":
            return torch.cat(outputs, 1)
        return torch.stack(outputs).sum(0) if self.join == "stack" else outputs[0] + outputs[1]


class Ones(nn.Module):
    """A network whose weights are all one, so that a gradient is zero only where nothing reads."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        for parameter in self.parameters():
            nn.init.ones_(parameter)
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        return out


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
strides = st.tuples(st.integers(1, 2), st.integers(1, 2))
pads = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def layers(draw: st.DrawFn, channels: int = 2) -> nn.Module:
    kind = draw(st.sampled_from(["conv", "conv", "depthwise", "up", "pool", "resize", "branches"]))
    kernel, stride = draw(pairs), draw(strides)
    if kind == "up":
        kernel = tuple(max(k, s) for k, s in zip(kernel, stride, strict=True))  # type: ignore[assignment]
        extra = tuple(draw(st.integers(0, s - 1)) for s in stride)
        pad = tuple(draw(st.integers(0, k - 1)) for k in kernel)
        return nn.ConvTranspose2d(2, 2, kernel, stride, pad, extra, bias=False)  # type: ignore[arg-type]
    if kind == "pool":
        pad = tuple(draw(st.integers(0, k // 2)) for k in kernel)
        return nn.AvgPool2d(kernel, stride, pad, ceil_mode=draw(st.booleans()))  # type: ignore[arg-type]
    if kind == "resize":
        mode = draw(st.sampled_from(["nearest", "bilinear"]))
        return nn.Upsample(scale_factor=draw(st.sampled_from([2, 3])), mode=mode)
    if kind == "branches":
        sides = []
        for _ in range(2):
            k = tuple(draw(st.sampled_from([1, 3])) for _ in range(2))
            d = tuple(draw(st.integers(1, 2)) for _ in range(2))
            pad = tuple(d[i] * (k[i] - 1) // 2 for i in range(2))
            sides.append(nn.Conv2d(2, 2, k, 1, pad, d, bias=False))  # type: ignore[arg-type]
        return Branches([*sides], draw(st.sampled_from(["add", "stack"])))
    groups = 2 if kind == "depthwise" else 1
    return nn.Conv2d(2, 2, kernel, stride, draw(pads), draw(pairs), groups, bias=False)


def cells_with_a_gradient(
    model: nn.Module, shape: tuple[int, ...], at: tuple[int, int]
) -> set[Any]:
    x = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(model(x)[0, :, at[0], at[1]].sum(), x)
    return set(map(tuple, grad[0].sum(0).nonzero().tolist()))


def cells_read(network: Network, at: tuple[int, int]) -> set[Any]:
    last = network.nodes[network.outputs[0]].name
    return {cell for box in network.reads(last, at) for cell in product(*box)}


@LAW
@given(st.lists(layers(), min_size=1, max_size=4), st.integers(4, 9), st.integers(4, 9), st.data())
def test_cells_read_are_those_with_a_gradient(
    parts: list[nn.Module], height: int, width: int, data: st.DataObject
) -> None:
    model = Ones(*parts)
    shape = (2, height, width)
    try:
        out = model(torch.zeros(1, *shape, dtype=torch.float64)).shape
    except RuntimeError:
        assume(False)  # a window larger than its input
    assume(0 < out[2] * out[3] < 4000)
    network = trace(model, shape)
    assert network.shape(network.nodes[network.outputs[0]]) == tuple(out[1:])
    for _ in range(3):
        at = (data.draw(st.integers(0, out[2] - 1)), data.draw(st.integers(0, out[3] - 1)))
        assert cells_read(network, at) == cells_with_a_gradient(model, shape, at)


@LAW
@given(st.lists(layers(), min_size=1, max_size=4), st.data())
def test_a_field_clear_of_the_borders_is_the_hull_of_what_is_read(
    parts: list[nn.Module], data: st.DataObject
) -> None:
    network = trace(Ones(*parts), (2, 48, 40))
    last = network.nodes[network.outputs[0]]
    assert last.shape is not None
    at = tuple(n // 2 + data.draw(st.integers(-1, 1)) for n in last.shape[2:])
    hulls = []
    for source, o in zip(network.told(last), at, strict=True):
        reach = last.reach[source]
        if reach.field is None:  # the branches drift apart, as the reach then says
            assert reach.lost
            return
        hulls.append(reach.field.interval(o))
    if any(h is None or h[0] < 0 or h[1] >= n for h, n in zip(hulls, (48, 40), strict=True)):
        return
    read = network.reads(last.name, at)
    for axis, hull in enumerate(hulls):
        cells = [cell for box in read for cell in box[axis]]
        assert (min(cells), max(cells)) == hull


def test_padding_that_is_no_zero_is_not_followed_cell_by_cell() -> None:
    network = trace(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), (1, 8, 8))
    assert network.receptive_field(network.nodes[-1]) == (3, 3)
    with pytest.raises(InputError, match="reflect"):
        network.reads(network.nodes[-1].name, (0, 0))


def test_branches_of_crossed_shapes_read_a_cross() -> None:
    """1x7 beside 7x1, as in Inception: the cells read are no rectangle."""
    cross = Branches(
        [nn.Conv2d(1, 1, (1, 7), padding=(0, 3), bias=False),
         nn.Conv2d(1, 1, (7, 1), padding=(3, 0), bias=False)], "cat",
    )  # fmt: skip
    model = Ones(cross)
    network = trace(model, (1, 12, 12))
    read = cells_read(network, (6, 6))
    assert len(read) == 13
    assert read == cells_with_a_gradient(model, (1, 12, 12), (6, 6))
    assert network.receptive_field(network.nodes[-1]) == (7, 7)


def test_a_u_net_reads_what_its_gradient_says() -> None:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(2, 2, 3, padding=1, bias=False)
            self.down = nn.AvgPool2d(2)
            self.middle = nn.Conv2d(2, 2, 3, padding=2, dilation=2, bias=False)
            self.up = nn.ConvTranspose2d(2, 2, 2, stride=2, bias=False)
            self.last = nn.Conv2d(4, 2, 3, padding=1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skip = self.first(x)
            deep = self.up(self.middle(self.down(skip)))
            out: torch.Tensor = self.last(torch.cat([skip, deep], dim=1))
            return out

    model = Ones(UNet())
    network = trace(model, (2, 32, 32))
    last = network.nodes[network.outputs[0]]
    largest = 0
    for at in product((14, 15, 16, 17), (15, 16)):
        expected = cells_with_a_gradient(model, (2, 32, 32), at)
        assert cells_read(network, at) == expected
        rows = [r for r, _ in expected]
        largest = max(largest, max(rows) - min(rows) + 1)
    assert network.receptive_field(last) == (largest, largest)
    assert network.jump(last) == (Fraction(1), Fraction(1))
    told = network.told(last)[0]
    field = last.reach[told].field
    assert field is not None
    assert field.period == 2
    for o in (14, 15):
        rows = [r for r, _ in cells_with_a_gradient(model, (2, 32, 32), (o, 16))]
        assert field.interval(o) == (min(rows), max(rows))


def test_global_pooling_reads_everything_and_keeps_the_local_field() -> None:
    """Squeeze and excitation: the gate reads the whole map, the gated path does not."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            gate: torch.Tensor = self.fc(self.pool(x))
            return x * torch.sigmoid(gate)

    network = trace(Gate(), (3, 16, 20))
    last = network.nodes[-1]
    assert network.receptive_field(last) == (16, 20)
    assert network.local_field(last) == (3, 3)
    assert network.jump(last) == (Fraction(1), Fraction(1))
    assert len(cells_read(network, (0, 0))) == 320


def test_flattened_and_dense_layers_read_everything() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 6 * 6, 5))
    network = trace(model, (1, 8, 8))
    assert [network.receptive_field(n) for n in network.layers] == [(3, 3), (3, 3), (8, 8)]
    assert network.totals.macs == 2 * 36 * 9 + 72 * 5


def test_tokens_of_a_vision_transformer_keep_and_then_widen_their_field() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch = nn.Conv2d(3, 8, 4, stride=4)
            self.qkv = nn.Linear(8, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            t = self.patch(x).flatten(2).transpose(1, 2)
            q, k, v = self.qkv(t).chunk(3, dim=-1)
            out: torch.Tensor = t + nn.functional.scaled_dot_product_attention(q, k, v)
            return out

    network = trace(Tokens(), (3, 16, 16))
    qkv = network.node("qkv")
    assert (network.receptive_field(qkv), network.local_field(qkv)) == ((4, 4), (4, 4))
    last = network.nodes[-1]
    assert (network.receptive_field(last), network.local_field(last)) == ((16, 16), (4, 4))


@LAW
@given(
    st.lists(st.tuples(st.sampled_from(["conv", "relu", "skip", "pool"]), st.integers(1, 4)),
             min_size=1, max_size=8),
)  # fmt: skip
def test_peak_memory_is_that_of_a_walk_that_frees_after_the_last_use(
    steps: list[tuple[str, int]],
) -> None:
    b = Builder("net")
    nodes = [b.input("x", (1, 4, 16))]
    for i, (kind, channels) in enumerate(steps):
        x = nodes[-1]
        if kind == "conv":
            w = (Window(3, padding=(1, 1)),)
            made = b.conv(f"n{i}", x, w, axes=(2,), channel_axis=1, out_channels=channels)
        elif kind == "pool":
            made = b.pool(f"n{i}", "avg_pool", x, (Window(1),), axes=(2,))
        elif kind == "skip":
            same = [n for n in nodes if n.shape == x.shape]
            made = b.pointwise(f"n{i}", "add", [x, same[0]])
        else:
            made = b.pointwise(f"n{i}", "relu", [x])
        nodes.append(made)
    network = b.network([nodes[-1]])
    peak = 0
    for now in range(len(nodes)):
        alive = [n for n in nodes[: now + 1]
                 if n.index == now or n is nodes[-1]
                 or any(n.index in later.inputs for later in nodes[now:])]  # fmt: skip
        peak = max(peak, sum(n.bytes for n in alive))
    assert memory(network).peak == peak


def saved_bytes(model: nn.Module, x: torch.Tensor) -> int:
    """Bytes that autograd really keeps: distinct storages, weights and buffers left out."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}
    held = []

    def pack(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            held.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = model(x)
        held.append(y)
    return sum(kept.values())


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)],
        [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
         nn.Linear(392, 5)],
        [nn.ConvTranspose2d(3, 6, 4, 2, 1), nn.Sigmoid(), nn.Conv2d(6, 3, 1), nn.Tanh()],
        [nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.GELU(), nn.Conv2d(8, 8, 1)],
        [nn.Conv2d(3, 8, 1), nn.SiLU(), nn.GroupNorm(2, 8), nn.Conv2d(8, 8, 1), nn.Softmax(1)],
    ],
    ids=["relu", "norm", "transposed", "pool", "group"],
)  # fmt: skip
def test_saved_bytes_are_those_that_autograd_keeps(layers: list[nn.Module]) -> None:
    model = nn.Sequential(*layers).train()
    x = torch.rand(2, 3, 16, 16, requires_grad=True)
    network = trace(model, (3, 16, 16), batch=2)
    real = saved_bytes(model, x)
    ours = memory(network).saved
    # Beside the maps torch keeps a few numbers a channel (means, counts): under 1 % here.
    assert ours <= real <= 1.01 * ours


def test_shared_weights_count_once() -> None:
    b = Builder("net")
    x = b.input("x", (1, 2, 8))
    weight = Weight("w", (2, 2, 3))
    w = (Window(3, padding=(1, 1)),)
    for name in ("first", "second"):
        x = b.conv(name, x, w, axes=(2,), channel_axis=1, out_channels=2, weights=[weight])
    network = b.network([x])
    assert [n.params for n in network.layers] == [12, 0]
    assert network.totals.macs == 2 * 8 * 3 * 4


def test_an_unknown_layer_is_named_and_the_rest_goes_on_from_its_stated_shape() -> None:
    b = Builder("net")
    x = b.pool("pool", "max_pool", b.input("x", (1, 2, 9)), (Window(2),), axes=(2,))
    odd = b.unknown("odd", "Mystery", [x], "no rule", shape=(1, 4, 8))
    after = b.attempt("after", "relu", [odd], lambda: b.pointwise("after", "relu", [odd]))
    lost = b.unknown("lost", "Mystery", [after], "no rule")
    last = b.attempt("last", "relu", [lost], lambda: b.pointwise("last", "relu", [lost]))
    network = b.network([last])
    assert after.shape == (1, 4, 8)
    assert last.shape is None
    assert "lost" in last.problem
    assert network.totals.unknown == 3
    with pytest.raises(InputError, match="odd"):
        b.network([after]).reads("after", ())


def test_a_transposed_convolution_multiplies_its_input_cells() -> None:
    b = Builder("net")
    x = b.input("x", (1, 6, 5, 7))
    windows = (Window(3, input_dilation=2, padding=(1, 2)), Window(4, padding=(3, 3)))
    y = b.conv("up", x, windows, axes=(2, 3), channel_axis=1, out_channels=4, groups=2,
               transposed=True)  # fmt: skip
    assert y.macs == 5 * 7 * 12 * 4 * 3


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ((2, 3, 4, 5), (2, 3, 20), {0: 1, 1: 2, 2: 2}),
        ((2, 3, 4, 5), (2, 60), {0: 1, 1: 1, 2: 1}),
        ((2, 6, 4, 5), (2, 2, 3, 4, 5), {1: 3, 2: 4}),
        ((2, 3, 4, 5), (2, 3, 2, 2, 5), {0: 1, 2: 4}),
        ((2, 1, 4, 5), (2, 4, 5), {1: 1, 2: 2}),
    ],
)
def test_a_reshape_keeps_the_axes_that_it_does_not_cut(
    old: tuple[int, ...], new: tuple[int, ...], kept: dict[int, int]
) -> None:
    b = Builder("net")
    y = b.reshape("r", b.input("x", old), new)
    home = {s: axis for axis, atoms in enumerate(y.atoms) for s, _ in atoms if s is not None}
    assert home == kept
    for source, reach in y.reach.items():
        assert bool(reach.lost) == (source not in kept and old[source + 1] > 1)


def test_a_merged_axis_comes_apart_again() -> None:
    b = Builder("net")
    x = b.input("x", (1, 3, 4, 5))
    tokens = b.permute("t", b.reshape("f", x, (1, 3, 20)), (0, 2, 1))
    back = b.reshape("u", b.permute("p", tokens, (0, 2, 1)), (1, 3, 4, 5))
    assert back.atoms == x.atoms


@pytest.mark.parametrize("shapes", [[(2, 3), (4, 3)], [(2,), (3,)]])
def test_shapes_that_do_not_broadcast_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match="cell by cell"):
        broadcast(shapes)


def test_names_and_positions_that_are_not_there_are_refused() -> None:
    network = trace(nn.Conv2d(1, 1, 3), (1, 8, 8))
    with pytest.raises(InputError, match="conv2d"):
        network.node("missing")
    with pytest.raises(InputError, match="on the tensor"):
        network.reads(network.nodes[-1].name, (6, 0))
    with pytest.raises(InputError, match="2 such axes"):
        network.reads(network.nodes[-1].name, (0,))
