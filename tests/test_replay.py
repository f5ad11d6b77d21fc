"""What is recorded of an accelerated model is played again: its own results, and only those."""

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from convscape import ops
from convscape.bench import networks
from convscape.kernels.cpu import memory, tape
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.jit import team
from convscape.kernels.cpu.layout import plain
from convscape.kernels.cpu.threads import bind, launch
from convscape.layers.torch import accelerate
from convscape.layers.torch.fused import FusedConv2d
from convscape.ops.bridge import array
from tests.cases import channels_last, error


@pytest.fixture(autouse=True)
def _threads_as_found() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


pytestmark = pytest.mark.skipif(bind() is None, reason="nothing is recorded without OpenMP")


def images(*shape: int, many: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(shape, generator=generator) for _ in range(many)]


def small() -> Any:
    """A Winograd layer, one with few channels, pooling, and torch's own at the end."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 24, 1), nn.ReLU6(),
        nn.Conv2d(24, 24, 3, 2, 1, groups=24), nn.Conv2d(24, 32, 3, padding=1), nn.ReLU6(),
        nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    ).eval()  # fmt: skip


def recorded(model: nn.Module, x: torch.Tensor) -> Any:
    """The accelerated model, which plays from now on for inputs like x."""
    made = accelerate(model)
    made(x), made(x)
    assert "launches" in made.extra_repr(), made.extra_repr()
    return made


@pytest.mark.parametrize(
    ("name", "side"),
    [("VGG-A", 32), ("ResNet-50", 64), ("MobileNet-v2", 64), ("Inception-v3", 96)],
)
@pytest.mark.parametrize(("batch", "threads"), [(1, 2), (3, 1)])
def test_networks_are_played_bit_by_bit_as_they_compute(
    name: str, side: int, batch: int, threads: int
) -> None:
    torch.set_num_threads(threads)
    made = recorded(networks.network(name), images(batch, 3, side, side)[0])
    for x in images(batch, 3, side, side):
        with torch.no_grad():
            want = made.traced(channels_last(x))
        assert torch.equal(made(x), want)
        assert torch.equal(made(channels_last(x)), want)


def test_results_are_the_callers_own() -> None:
    model = small()[:4]  # its result is an image
    x, y, _ = images(2, 3, 12, 12)
    made = recorded(model, x)
    first = made(x)
    kept = first.clone()
    second = made(y)
    assert torch.equal(first, kept)
    assert first.is_contiguous()
    first.zero_()
    assert torch.equal(made(y), second)


def test_weights_that_change_are_followed() -> None:
    x = images(1, 3, 12, 12)[0]
    made = recorded(small(), x)
    with torch.no_grad():
        made.traced.get_submodule("0").weight.mul_(2)
        assert error(made(x), made.traced(channels_last(x))) < 1e-6
        made(x), made(x)
        made.traced.get_submodule("2").weight = nn.Parameter(torch.ones(24, 16, 1, 1))
        assert error(made(x), made.traced(channels_last(x))) < 1e-6
        made(x), made(x)
        made.traced.get_submodule("10").bias.data = torch.arange(5.0)
        assert error(made(x), made.traced(channels_last(x))) < 1e-6


def test_a_hook_that_comes_later_is_called() -> None:
    x = images(1, 3, 12, 12)[0]
    made, seen = recorded(small(), x), []
    made(x)
    handle = made.traced.get_submodule("2").register_forward_hook(lambda *_: seen.append(1))
    want = made(x)
    assert seen == [1]
    assert "a hook watches" in made.extra_repr()
    handle.remove()
    assert torch.equal(made(x), want)
    assert seen == [1]


class Dropping(nn.Module):
    """Random at every call, also in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)

    def forward(self, x: Any) -> Any:
        return functional.dropout(self.conv(x), 0.5, True)


class Writing(nn.Module):
    """Writes to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)

    def forward(self, x: Any) -> Any:
        return self.conv(x.mul_(2))


class Splitting(nn.Module):
    """Several tensors from one function, which are no views."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)

    def forward(self, x: Any) -> Any:
        return torch.var_mean(self.conv(x), 1)


@pytest.mark.parametrize(
    ("model", "reason"),
    [(Dropping, "dropout is not known"), (Writing, "mul_ writes to"), (Splitting, "var_mean")],
)
def test_what_does_not_compute_the_same_again_is_not_recorded(model: Any, reason: str) -> None:
    torch.manual_seed(0)
    made, x = accelerate(model()), images(1, 3, 8, 8)[0]
    results = [made(x) for _ in range(4)]
    assert reason in made.extra_repr()
    if model is Dropping:
        assert not torch.equal(results[2], results[3])


def test_what_computes_beside_its_kernels_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made, x = accelerate(small()), images(1, 3, 12, 12)[0]
    honest = FusedConv2d.forward

    def beside(self: Any, input: torch.Tensor) -> torch.Tensor:
        y = honest(self, input)
        array(y)[:] += float(array(input).mean())  # NumPy: no launch
        return y

    monkeypatch.setattr(FusedConv2d, "forward", beside)
    results = [made(x) for _ in range(4)]
    assert "gave other results" in made.extra_repr()
    assert all(torch.equal(results[0], y) for y in results)


def test_each_kind_of_input_has_its_own_and_the_oldest_goes() -> None:
    made: Any = accelerate(small())
    for side in (*range(8, 28, 2), 8):
        x = images(1, 3, side, side)[0]
        for _ in range(3):
            with torch.no_grad():
                assert torch.equal(made(x), made.traced(channels_last(x)))
    assert len(made.extra_repr().splitlines()) == 8
    torch.set_num_threads(2)
    assert error(made(x), made.traced(channels_last(x)).detach()) < 1e-6
    assert "2 threads: seen once" in made.extra_repr()


def test_threads_that_call_one_model_at_once_get_their_own_results() -> None:
    inputs = images(1, 3, 24, 24, many=4)
    made = recorded(small(), inputs[0])
    wants = [made(x) for x in inputs]
    wrong: list[int] = []

    def work(n: int) -> None:
        wrong.extend(n for _ in range(50) if error(made(inputs[n]), wants[n]) > 1e-6)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_forked_process_computes_without_its_parents_recording() -> None:
    x = images(1, 3, 24, 24)[0]
    made = recorded(small(), x)
    want = made(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if error(made(x), want) < 1e-6 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_inference_mode_and_transforms_get_what_they_ask_for() -> None:
    x = images(1, 3, 12, 12)[0]
    with torch.inference_mode():
        made = recorded(small(), x)
        want = made(x)
    assert torch.equal(made(x), want)
    with torch.autocast("cpu", torch.bfloat16):
        assert made(x).dtype == torch.bfloat16
    assert made(x.double().float()).dtype == torch.float32
    assert torch.equal(made(x), want)


def test_inputs_of_any_strides_are_copied_to_the_recordings_own() -> None:
    x = images(2, 3, 20, 24)[0]
    made = recorded(small(), x)
    wide = torch.zeros(2, 3, 20, 48)
    wide[..., ::2] = x
    row, alike = x[:1, :, :, :1].expand(2, 3, 20, 24), x.transpose(2, 3).contiguous()
    for given in (x, channels_last(x), wide[..., ::2], alike.transpose(2, 3), row):
        with torch.no_grad():
            want = made.traced(channels_last(given))
        assert torch.equal(made(given), want)
    negated = torch.complex(x, -x).conj().imag  # its memory holds -x
    assert negated.is_neg()
    assert torch.equal(made(negated), made(x))


# --- the tape itself -----------------------------------------------------------------------------


def test_memory_of_a_recording_is_used_again_within_and_by_nobody_else() -> None:
    x = np.zeros((1, 64, 64, 64), np.float32)
    made = tape.Tape()
    with made.recording():
        y = x
        for _ in range(6):
            y = plain(y.transpose(0, 2, 3, 1), 1).transpose(0, 3, 1, 2)
    assert made.launches == 6
    assert len(made.pool.blocks) == 2
    others = [memory.empty(x.size, np.float32) for _ in range(4)]
    assert not any(made.pool.owns(memory.address(other)) for other in others)


def _chain(x: Any, channels: list[int]) -> Any:
    """A product, and a turn, for each number of channels."""
    for k in channels:
        weight = torch.full((k, x.shape[1], 1, 1), 0.5)
        x = ops.conv2d(torch.from_numpy(plain(array(x).transpose(0, 2, 3, 1), 1)), weight)
    return x


def test_a_second_recording_lies_in_one_block_as_large_as_what_lives_at_one_time() -> None:
    x, channels = images(1, 16, 16, 16)[0], [48, 32, 8, 24]
    first = tape.Tape()
    with first.recording():
        want = _chain(x, channels).clone()
    second = tape.Tape(first.pool.arranged())
    with second.recording():
        y = _chain(x, channels)
    largest = (16 * 16 * 4) * (48 + 48 + 32)  # one product, its turned copy and the next product
    (block,) = second.pool.blocks.values()
    assert largest <= block.nbytes < 1.1 * largest
    assert sum(b.nbytes for b in first.pool.blocks.values()) > 1.5 * block.nbytes
    block[:] = 0xFF
    second.play()
    assert torch.equal(y, want)


def test_a_second_recording_that_is_another_one_has_memory_of_its_own() -> None:
    x = images(1, 16, 16, 16)[0]
    first = tape.Tape()
    with first.recording():
        _chain(x, [16, 16, 16])
    second = tape.Tape(first.pool.arranged())
    with second.recording():
        y = _chain(x, [16, 40, 8, 32, 32])
    assert len(second.pool.blocks) > 1
    second.play()
    torch.testing.assert_close(y, _chain(x, [16, 40, 8, 32, 32]))


def test_another_thread_that_launches_meanwhile_is_not_recorded() -> None:
    x, weight = channels_last(images(2, 3, 8, 8)[0]), torch.ones(4, 3, 1, 1)
    seen, made, found = weakref.ref(x), tape.Tape(), []
    with made.recording():
        other = threading.Thread(target=lambda y: found.append(ops.conv2d(y, weight)), args=(x,))
        other.start()
        other.join()
    assert made.launches == 0
    assert not made.pool.blocks
    torch.testing.assert_close(found[0], functional.conv2d(x, weight))
    del x
    gc.collect()
    assert seen() is None, "a recording holds what is not its own"


@team
def _ask(part: Any, parts: Any, sizes: Any, y: Any) -> None:
    if divide(part, parts):
        return
    y[part] = np.empty(sizes[0], np.float64).size


def test_a_share_that_finds_no_memory_is_reported_and_played_again() -> None:
    sizes, y, made = np.array([3]), np.zeros(2), tape.Tape()
    with made.recording():
        launch(_ask, 2, sizes, y)
    assert list(y) == [3, 3]
    sizes[0] = 1 << 58
    with pytest.raises(MemoryError, match="a share found no memory"):
        made.play()
    sizes[0] = 7
    made.play()
    assert list(y) == [7, 7]
