"""Files that are whole or absent, folders that are ours or refused, and workers that end."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convscape.arithmetic.errors import InputError
from convscape.study import engine, pool, store
from convscape.study.config import Config, Run
from convscape.study.progress import Lines
from convscape.study.store import Store
from tests.study_support import record

CONFIG = Config()
RUN = CONFIG.runs()[0]
RECORD = record("plain", 0.1, 0, [0.5], loss_ranges=[1.0])


def test_what_is_saved_is_found_again_and_nothing_else_is(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "study"
    first = Store(folder, CONFIG)
    with first.open("data"):
        assert first.load(RUN) is None
        first.save(RUN, RECORD)
    again = Store(folder, CONFIG)
    with again.open("data"):
        found = again.load(RUN)
        assert found is not None
        assert found == {**RECORD, "identity": again.identity(RUN)}
        assert again.load(CONFIG.runs()[1]) is None


def test_the_identity_of_a_run_covers_all_that_decides_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def identity(config: Config = CONFIG, run: Run = RUN, data: str = "data") -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        kept = Store(folder, config)
        with kept.open(data):
            return kept.identity(run)

    base = identity()
    assert identity() == base
    assert identity(replace(CONFIG, seeds=9, learning_rates=(0.1, 7.0))) == base
    others = {
        identity(replace(CONFIG, steps=401)),
        identity(replace(CONFIG, blocks=((16, 2),))),
        identity(run=replace(RUN, seed=1)),
        identity(run=replace(RUN, arm="batchnorm")),
        identity(run=replace(RUN, learning_rate=0.2)),
        identity(data="other data"),
    }
    monkeypatch.setattr(store, "__version__", "another")
    assert len({*others, base, identity()}) == 8


def test_a_crash_while_writing_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    store.write(path, "old")

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        store.write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_record_is_done_again(tmp_path: Path) -> None:
    kept = Store(tmp_path, CONFIG)
    with kept.open("data"):
        kept.save(RUN, RECORD)
        (path,) = (tmp_path / "runs").iterdir()
        path.write_text(path.read_text()[:-20])
        assert kept.load(RUN) is None


def test_a_number_that_is_not_json_is_never_stored(tmp_path: Path) -> None:
    kept = Store(tmp_path, CONFIG)
    with kept.open("data"), pytest.raises(ValueError, match="JSON"):
        kept.save(RUN, {**RECORD, "losses": [float("nan")]})


def test_a_folder_of_another_study_is_refused_and_untouched(tmp_path: Path) -> None:
    with Store(tmp_path, CONFIG).open("data"):
        pass
    before = (tmp_path / "study.json").read_bytes()
    with pytest.raises(InputError, match="steps is 400 instead of 7"):
        Store(tmp_path, replace(CONFIG, steps=7))
    with pytest.raises(InputError, match="other data"), Store(tmp_path, CONFIG).open("changed"):
        pass
    assert (tmp_path / "study.json").read_bytes() == before


def test_a_folder_that_is_no_study_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="must be empty"):
        Store(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="must be a folder"):
        Store(tmp_path / "thesis.tex", CONFIG)
    with pytest.raises(InputError, match="writable"):
        Store(tmp_path / "thesis.tex" / "inside", CONFIG)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"schema": "convscape.study/99"}))
    with pytest.raises(InputError, match="another version"):
        Store(tmp_path, CONFIG)


def test_an_unwritable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write anywhere, so the system's answer is made up.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(InputError, match="writable"):
        Store(tmp_path / "out", CONFIG)
    assert not list(tmp_path.iterdir())


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        Store(tmp_path, CONFIG).open("data"),
        pytest.raises(InputError, match="one process at a time"),
        Store(tmp_path, CONFIG).open("data"),
    ):
        pass


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"config": Config(data="nothing")}, {"out": Path("/dev/null")}]
)
def test_a_study_refuses_before_any_work(wrong: dict[str, Any], tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"config": CONFIG, "out": tmp_path / "out", "workers": 1, **wrong}
    with pytest.raises(InputError):
        engine.study(listener=Lines(sys.stderr), **arguments)
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "NEEDS", ("json", "no_such_library"))
    with pytest.raises(InputError, match=r"no_such_library not installed.*convscape\[study\]"):
        engine.study(CONFIG, tmp_path / "out", Lines(sys.stderr))


def double(task: int, shared: int, tell: pool.Tell) -> dict[str, Any]:
    tell(task)
    return {"value": task * shared, "pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}


def fail(task: int, shared: Any, tell: pool.Tell) -> None:
    if task == 1:
        raise ArithmeticError("task one is cursed")


def vanish(task: int, shared: Any, tell: pool.Tell) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(task: int, shared: Any, tell: pool.Tell) -> None:
    tell(os.getpid())
    time.sleep(600)


def test_every_task_is_done_once_by_another_process_with_one_thread() -> None:
    news = list(pool.perform(double, [1, 2, 3, 4, 5], 10, workers=2))
    results = {item.task: item.content for item in news if item.kind == "done"}
    assert {task: found["value"] for task, found in results.items()} == {
        1: 10, 2: 20, 3: 30, 4: 40, 5: 50,
    }  # fmt: skip
    assert {found["threads"] for found in results.values()} == {"1"}
    assert 1 <= len({found["pid"] for found in results.values()} - {os.getpid()}) <= 2
    assert sorted(item.content for item in news if item.kind == "told") == [1, 2, 3, 4, 5]


def test_a_task_that_raises_says_so_and_ends_the_crew() -> None:
    with pytest.raises(pool.WorkerError, match="task one is cursed"):
        list(pool.perform(fail, [0, 1, 2], None, workers=2))
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_is_noticed() -> None:
    with pytest.raises(pool.WorkerError, match="status -9"):
        list(pool.perform(vanish, [0], None, workers=1))


def test_closing_ends_the_workers_in_the_middle_of_a_task() -> None:
    news = pool.perform(sleep, [0, 1], None, workers=2)
    told = (item.content for item in news if item.kind == "told")
    pids = [next(told), next(told)]
    told.close()
    news.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_die_with_a_parent_that_is_killed() -> None:
    program = (
        "from tests.test_study_store import *\n"
        "if __name__ == '__main__':\n"
        "    for item in pool.perform(sleep, [0], None, workers=1):\n"
        "        if item.kind == 'told': print(item.content, flush=True)\n"
    )
    root = Path(__file__).parent.parent
    parent = subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        worker = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
    try:
        with pytest.raises(ProcessLookupError):
            _until_gone(worker)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def _until_gone(pid: int) -> None:
    for _ in range(1000):
        os.kill(pid, 0)
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            raise ProcessLookupError  # dead, and not yet collected by init
        time.sleep(0.01)


def test_a_folder_that_fills_up_is_refused_before_any_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"), Store(tmp_path, CONFIG).open("data"):
        pytest.fail("a study was begun")
