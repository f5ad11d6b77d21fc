"""A study from beginning to end: what is done already, what is left, and what comes of it.

It knows runs, workers and files; what one run does is the experiment's affair.
"""

import contextlib
import importlib.util
import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.study.config import Config, Run
from convscape.study.progress import Listener
from convscape.study.store import SCHEMA, Store, write

NEEDS = ("numpy", "numba", "torch", "keras", "sklearn", "matplotlib", "jinja2", "PIL")


def study(
    config: Config,
    out: Path,
    listener: Listener,
    workers: int | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Do what is left of a study, and write `results.json` and `report.html`.

    Everything that can be wrong with the input is found before the first run. Runs that `out`
    holds already are not done again, so that after Ctrl-C or a crash the same call carries on;
    the results are the same numbers as those of a study that was never interrupted, whatever the
    number of workers.

    Args:
        config: What to do.
        out: The study's folder; made if it is not there.
        listener: Hears of the progress.
        workers: Processes, one thread each; None for as many as there are cores.
        command: The command line, for the report.

    Returns:
        What `results.json` holds (see docs/study.md).

    Raises:
        InputError: The data, the output folder or the number of workers cannot be used.
        WorkerError: A worker process failed; the finished runs are kept.
        KeyboardInterrupt: Ctrl-C; the finished runs are kept.
    """
    started = time.perf_counter()
    if workers is not None and workers < 1:
        raise InputError(
            "workers must be at least 1", f"workers={workers}", "leave --workers out for all cores"
        )
    _require_libraries()
    from convscape.study import sources  # NumPy

    sources.locate(config.data)
    store = Store(out, config)
    from convscape.study.data import load  # NumPy and the sources' libraries

    data = load(config)
    runs = config.runs()
    with store.open(data.fingerprint):
        records = {run.key: record for run in runs if (record := store.load(run)) is not None}
        left = [run for run in runs if run.key not in records]
        crew = min(workers or available_cores(), max(len(left), 1))
        listener.begin(config, len(runs), len(records), crew)
        with contextlib.closing(listener):
            records |= _perform(left, (config, data), crew, store, listener)
        from convscape.study.environment import environment
        from convscape.study.report import render
        from convscape.study.summary import summarise

        ordered = [records[run.key] for run in runs]
        described = data.describe()
        results = {
            "schema": SCHEMA,
            "config": config.as_dict(),
            "data": described,
            "environment": environment(),
            "how": {
                "command": list(command),
                "workers": crew,
                "threads_per_worker": 1,
                "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "wall_seconds": round(time.perf_counter() - started, 1),
                "runs_found_finished": len(runs) - len(left),
                "run_seconds": round(sum(record["seconds"] for record in ordered), 1),
            },
            "summary": summarise(config, described, ordered),
            "runs": ordered,
        }
        write(out / "results.json", json.dumps(results, indent=1, allow_nan=False))
        write(out / "report.html", render(results))
    return results


def _require_libraries() -> None:
    """Refuse at once what would fail in the middle: a missing library."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            "a study needs the optional libraries of convscape[study]",
            f"{', '.join(missing)} not installed",
            "run pip install 'convscape[study]'",
        )


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _perform(
    left: Sequence[Run], shared: Any, workers: int, store: Store, listener: Listener
) -> dict[str, dict[str, Any]]:
    """Do the runs that are left; each is on the disk before the next is begun."""
    from convscape.study import pool, work

    records = {}
    with contextlib.closing(pool.perform(work.perform, left, shared, workers)) as news:
        for item in news:
            run: Run = item.task
            if item.kind == "started":
                listener.started(run)
            elif item.kind == "told":
                listener.told(run, item.content)
            else:
                store.save(run, item.content)
                # As it reads back, so that a resumed study sees the same values.
                record = store.load(run)
                assert record is not None
                records[run.key] = record
                listener.finished(run, record)
    return records
