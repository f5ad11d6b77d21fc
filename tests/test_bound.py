"""Launches that are told addresses compute what the same kernels compute on arrays."""

from typing import Any

import numpy as np
import pytest
from numba import njit

from convscape.kernels.cpu import threads
from convscape.kernels.cpu.bound import Launch, Result, lies_at, place
from convscape.kernels.cpu.clear import clearing
from convscape.kernels.cpu.divide import divide
from convscape.kernels.cpu.memory import address
from convscape.kernels.cpu.scratch import at_address
from convscape.kernels.cpu.tape import Tape
from convscape.kernels.cpu.threads import launch


@njit
def _scale(part: int, parts: int, places: Any, by: Any, count: int, x: Any, like: Any) -> None:
    if divide(part, parts):
        return
    y, factors = at_address(places[0], count, like), at_address(places[1], 2, like)
    for i in range(count * part // parts, count * (part + 1) // parts):
        y[i] = by * x[i] * factors[0] + factors[1]


@njit
def _refuse(part: int, parts: int, bad: int, x: Any) -> None:
    if divide(part, parts):
        return
    if part == bad:
        raise MemoryError


@pytest.fixture(params=[True, False], ids=["OpenMP", "Python's threads"])
def _team(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """With a team to start, and without."""
    if not request.param:
        # What is compiled without OpenMP never has it in this process.
        x, like = np.ones(2, np.float32), np.empty(0, np.float32)
        launch(_scale, 1, (address(x), address(x)), 1.0, 0, x, like)
        launch(_refuse, 1, 1, x)
        monkeypatch.setattr(threads, "_libraries", list)
    threads.bind.cache_clear()
    yield request.param
    monkeypatch.undo()
    threads.bind.cache_clear()


def _scaling(parts: int, count: int, x: Any) -> Launch:
    like = np.empty(0, np.float32)
    return Launch(_scale, parts, (place(0), place(2)), 3.0, count, x, like)


@pytest.mark.usefixtures("_team")
@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_bound_launch_computes_what_it_is_told_anew_in_every_call(parts: int) -> None:
    call = _scaling(parts, 11, lies_at(1, 11, np.float32))
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=11).astype(np.float32)
        factors, y = np.array([seed + 1, 7], np.float32), np.zeros(12, np.float32)
        call(address(y), address(x), address(factors))
        np.testing.assert_allclose(y[:11], 3 * x * factors[0] + 7, rtol=1e-6)
        assert y[11] == 0


@pytest.mark.usefixtures("_team")
def test_what_is_known_is_held_and_left_as_it_is() -> None:
    x = np.arange(5, dtype=np.float32)
    call, factors, y = _scaling(2, 5, x.copy()), np.ones(2, np.float32), np.zeros(5, np.float32)
    call(address(y), 0, address(factors))
    np.testing.assert_array_equal(y, 3 * x + 1)


@pytest.mark.usefixtures("_team")
@pytest.mark.parametrize("bad", [0, 1])
def test_a_share_of_a_bound_launch_that_fails_raises(bad: int) -> None:
    call, x = Launch(_refuse, 2, bad, lies_at(0, 3, np.float32)), np.zeros(3, np.float32)
    for _ in range(2):
        with pytest.raises(MemoryError):
            call(address(x))


@pytest.mark.skipif(threads.bind() is None, reason="nothing is recorded without OpenMP")
def test_a_recording_plays_bound_launches_between_others() -> None:
    x, factors, y = np.ones(4, np.float32), np.ones(2, np.float32), np.zeros(4, np.float32)
    z, like, tape = np.zeros(4, np.float32), np.empty(0, np.float32), Tape()
    with tape.recording():
        _scaling(2, 4, lies_at(1, 4, np.float32))(address(y), address(x), address(factors))
        launch(_scale, 1, (address(z), address(factors)), 2.0, 4, y, like)
    x[:] = 5
    tape.play()
    assert tape.launches == 2
    assert z.tolist() == [2 * (3 * 5 + 1) + 1] * 4


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 4, 5), (1, 1, 1, 1), (0, 3, 4, 5)])
@pytest.mark.parametrize("last", [True, False])
def test_a_result_lies_without_gaps_in_the_order_that_was_asked_for(
    shape: tuple[int, ...], last: bool
) -> None:
    y = Result.of(shape, np.float32, last).kept()
    assert y.shape == shape
    assert (np.moveaxis(y, 1, -1) if last else y).flags.c_contiguous


def test_what_lay_in_memory_before_is_no_address() -> None:
    result = Result.of((1, 3, 4, 4), np.float32, True)
    for _ in range(4):  # the next one's arguments are recorded where the last one's stand-ins lay
        turn = clearing(result, (2, 2), [(0, 1), (1, 0), (1, 1)], 1)
        assert turn is not None
        y = np.ones((1, 4, 4, 3), np.float32)
        turn(address(y))
        assert y[0, :, :, 1].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_without_phases_there_is_nothing_to_clear() -> None:
    assert clearing(Result.of((1, 3, 4, 4), np.float32, True), (2, 2), [], 1) is None
