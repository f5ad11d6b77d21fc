"""What one sees: a line for each run where no terminal is, bars where there is one."""

import io
from typing import Any

import pytest

from convscape.study.config import Config
from convscape.study.progress import Bars, Lines, Listener, opening
from tests.study_support import record

CONFIG = Config(seeds=1, learning_rates=(0.1,))


def go_through(listener: Listener) -> None:
    plain, normalized = CONFIG.runs()
    listener.begin(CONFIG, runs=3, finished=1, workers=2)
    listener.started(plain)
    listener.started(normalized)
    listener.told(plain, {"step": 10, "loss": 1.25, "accuracy": 0.5})
    listener.finished(plain, record("plain", 0.1, 0, [0.75], loss_ranges=[1.0]))
    ended: dict[str, Any] = record("batchnorm", 0.1, 0, [0.5], loss_ranges=[], diverged_at=7)
    listener.finished(normalized, ended)
    listener.close()


def test_lines_say_how_each_run_ended() -> None:
    stream = io.StringIO()
    go_through(Lines(stream))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "study of digits: 2 of 3 runs to do, 1 done earlier, 2 at a time"
    assert lines[1].startswith("[2/3] plain-lr0.1-seed0: test accuracy 75.0%")
    assert lines[2].startswith("[3/3] batchnorm-lr0.1-seed0: diverged at step 7")
    assert len(lines) == 3


def test_bars_go_to_standard_error_and_keep_standard_output_clean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    go_through(Bars())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "plain-lr0.1-seed0: test accuracy 75.0%" in captured.err
    assert "3/3" in captured.err


def test_a_finished_study_says_so() -> None:
    assert opening(8, 8, 2) == "all 8 runs were done earlier; writing the results"
