"""A whole study through the command line: interrupted, killed and resumed, it ends the same."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.study_support import write_npz

# As a shell starts it in the foreground: a test run in the background ignores Ctrl-C.
PROGRAM = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "sys.argv[0] = 'convscape'; from convscape.cli import main; main()"
)
# At 1e30 the plain network diverges.
RATES = ["--learning-rates", "0.1,1e30"]
OPTIONS = ["--steps", "6", "--batch-size", "16", "--seeds", "2", "--probe-every", "3", *RATES]
RUNS = 8


def start(folder: Path, data: Path, *more: str) -> subprocess.Popen[str]:
    places = ["--data", str(data), "--out", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "study", *places, *OPTIONS, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(folder: Path) -> set[Path]:
    return set((folder / "runs").glob("*.json"))


def wait_for(folder: Path, runs: int, process: subprocess.Popen[str]) -> None:
    while len(finished(folder)) < runs:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def numbers(results: dict[str, Any]) -> dict[str, Any]:
    """All that must not depend on how a study came to its end: everything but the times."""
    text = json.dumps({name: results[name] for name in ("config", "data", "summary", "runs")})
    kept: dict[str, Any] = json.loads(
        text, object_hook=lambda d: {name: d[name] for name in d if name != "seconds"}
    )
    return kept


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_npz(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The folder of a study that nothing disturbed, done by one worker."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    process = start(folder, data, "--workers", "1", "--json")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["schema"] == "convscape.study/1"
    return folder


def test_a_study_writes_results_that_say_what_happened(whole: Path) -> None:
    results = json.loads((whole / "results.json").read_text())
    assert len(results["runs"]) == len(finished(whole)) == RUNS
    assert results["summary"]["pairing"] == {
        "initial_weights_sha256": True,
        "data_order_sha256": True,
    }
    plain = [run for run in results["runs"] if run["arm"] == "plain"]
    assert {run["learning_rate"]: run["diverged_at"] is None for run in plain} == {
        0.1: True,
        1e30: False,
    }
    page = (whole / "report.html").read_text()
    assert "Diverged" in page
    assert results["summary"]["claims"][0]["measured"] in page


def test_interrupted_then_killed_then_resumed_it_ends_in_the_same_numbers(
    whole: Path, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"

    interrupted = start(folder, data, "--workers", "2")
    wait_for(folder, 1, interrupted)
    os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does: to everyone in the group
    _, err = interrupted.communicate()
    assert interrupted.returncode == 130
    assert "the same command carries on" in err
    assert "Traceback" not in err
    kept = {path: path.read_bytes() for path in finished(folder)}
    assert 1 <= len(kept) < RUNS
    assert not (folder / "results.json").exists()

    killed = start(folder, data, "--workers", "2")
    wait_for(folder, len(kept) + 1, killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()  # ends when the workers, which share the pipes, have ended too
    assert killed.returncode == -signal.SIGKILL
    kept |= {path: path.read_bytes() for path in finished(folder)}
    assert len(kept) < RUNS

    resumed = start(folder, data, "--workers", "2")
    out, err = resumed.communicate()
    assert resumed.returncode == 0, err
    assert f"{RUNS - len(kept)} of {RUNS} runs to do, {len(kept)} done earlier" in err
    assert "report.html" in out
    assert all(path.read_bytes() == content for path, content in kept.items())
    found, expected = (
        numbers(json.loads((place / "results.json").read_text())) for place in (folder, whole)
    )
    for one, other in zip(found["runs"], expected["runs"], strict=True):
        assert one == other
    assert found == expected


def test_a_finished_study_only_writes_its_results_again(whole: Path, data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished(whole)}
    (whole / "report.html").unlink()
    process = start(whole, data)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "all 8 runs were done earlier" in err
    assert (whole / "report.html").is_file()
    assert {path: path.stat().st_mtime_ns for path in finished(whole)} == before


def test_other_options_for_the_same_folder_are_refused(whole: Path, data: Path) -> None:
    process = start(whole, data, "--steps", "7")
    _, err = process.communicate()
    assert process.returncode == 2
    assert "steps is 6 instead of 7" in err
