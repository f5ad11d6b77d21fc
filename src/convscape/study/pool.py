"""Tasks in worker processes that report while they work, and die with their parent.

The standard library's pools leave orphans that wait for ever when the parent is killed, and have
no way to report from inside a task. Here each worker has one pipe: tasks go down, news and
results come up, and an end of it that closes ends the other side. A worker knows nothing of
studies.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

Tell = Callable[[Any], None]
Work = Callable[[Any, Any, Tell], Any]
"""`work(task, shared, tell)` runs in a worker; a module-level function, so that it pickles."""


@dataclass(frozen=True, slots=True)
class News:
    """Something a worker said of a task: `kind` is "started", "told" or "done"."""

    kind: str
    task: Any
    content: Any = None


class WorkerError(RuntimeError):
    """A worker failed or vanished; what was done before is kept."""


def perform(
    work: Work, tasks: Sequence[Any], shared: Any, workers: int
) -> Generator[News, None, None]:
    """Do the tasks in order, in up to `workers` fresh processes, and yield their news.

    Every worker computes with one thread, so that the numbers do not depend on how many workers
    there are. Closing the iterator, or an interrupt while it waits, ends the workers at once.

    Args:
        work: What to do with a task, in the worker.
        tasks: Picklable tasks.
        shared: Sent once to every worker.
        workers: At most so many processes.

    Yields:
        The news, as they come; one "done" with the result for each task.

    Raises:
        WorkerError: A task raised, or a worker was killed.
    """
    waiting = list(reversed(tasks))
    crew: dict[Connection, BaseProcess] = {}
    doing: dict[Connection, Any] = {}
    try:
        for _ in range(min(workers, len(tasks))):
            pipe, process = _hire(work, shared)
            crew[pipe] = process
            doing[pipe] = _hand_out(pipe, waiting)
            yield News("started", doing[pipe])
        while doing:
            ready = set(wait(list(doing)))
            for pipe in [pipe for pipe in doing if pipe in ready]:
                kind, content = _hear(pipe, crew[pipe])
                yield News(kind, doing[pipe], content)
                if kind == "done":
                    del doing[pipe]
                    if waiting:
                        doing[pipe] = _hand_out(pipe, waiting)
                        yield News("started", doing[pipe])
    finally:
        for pipe, process in crew.items():
            pipe.close()
            process.terminate()
            process.join()


def _hire(work: Work, shared: Any) -> tuple[Connection, BaseProcess]:
    # Spawned, not forked: torch and Numba do not survive a fork once their threads run.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    with _interrupts_ignored():  # inherited: Ctrl-C reaches the parent alone, which ends the rest
        process.start()
    theirs.close()
    _send(ours, shared)
    return ours, process


def _send(pipe: Connection, content: Any) -> None:
    try:
        pipe.send(content)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise WorkerError("a worker process ended before it was given its work") from error


def _hand_out(pipe: Connection, waiting: list[Any]) -> Any:
    task = waiting.pop()
    _send(pipe, task)
    return task


def _hear(pipe: Connection, process: BaseProcess) -> tuple[str, Any]:
    try:
        kind, content = pipe.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        raise WorkerError(
            f"a worker process ended with status {process.exitcode} "
            "(a negative one is the signal that killed it; -9 often means too little memory)"
        ) from None
    if kind == "raised":
        raise WorkerError(content)
    return kind, content


def _serve(pipe: Connection, work: Work) -> None:
    """The worker: shared first, then tasks until the parent closes its end."""
    # Set before NumPy, torch and Numba are imported, which read them once.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        shared = pipe.recv()
        while True:
            task = pipe.recv()
            try:
                result = work(task, shared, lambda content: pipe.send(("told", content)))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception:
                pipe.send(("raised", traceback.format_exc()))
                return
            pipe.send(("done", result))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone


def _die_with_parent() -> None:
    """End this process when its parent has ended, even in the middle of a task."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signals, and only it is interrupted
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
