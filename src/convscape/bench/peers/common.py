"""What all peers share."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


class Unable(Exception):
    """A peer cannot take part; the message says why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for all contestants of a run.

    Args:
        threads: Threads that each may use.
        compiled: Whether torch.compile takes part; it compiles for about a second a case.
    """

    threads: int
    compiled: bool = True


def need(package: str, install: str | None = None) -> Any:
    """Import a package, or say that it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise Unable(f"not installed: pip install {install or package}") from error


def cores() -> list[int]:
    """The processor's cores that this process may use; empty where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextmanager
def confined(threads: int) -> Iterator[None]:
    """Let what is started inside see, and keep to, this many cores."""
    all_cores = cores()
    if not all_cores or threads >= len(all_cores):
        yield
        return
    os.sched_setaffinity(0, all_cores[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_cores)
