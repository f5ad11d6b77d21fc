"""From what was asked to the tasks, everything refused before anything is measured."""

import re
from collections.abc import Sequence

from convscape.arithmetic.errors import InputError
from convscape.bench.shapes import QUICK, SUITES
from convscape.bench.tasks import Task, tasks_of


def chosen(
    suites: Sequence[str], only: str | None, batch: int | None, *, quick: bool
) -> list[Task]:
    """The tasks of some suites.

    Args:
        suites: Names; all when empty.
        only: A regular expression that a task's name must contain, in any case.
        batch: Images, in place of each case's own number.
        quick: A few cases of each suite.

    Raises:
        InputError: An unknown suite, a pattern that is none or matches nothing.
    """
    for name in suites:
        if name not in SUITES:
            raise InputError("a suite must be one of " + ", ".join(SUITES), name, "or name none")
    try:
        pattern = re.compile(only or "", re.IGNORECASE)
    except re.error as error:
        raise InputError(
            "--only must be a regular expression", f"--only {only!r}: {error}", "escape ( ) [ ] * +"
        ) from None
    tasks = []
    for name, cases in SUITES.items():
        if not suites or name in suites:
            taken = [cases[i] for i in QUICK[name]] if quick else cases
            tasks += [t for t in tasks_of(name, taken, batch) if pattern.search(t.name)]
    if not tasks:
        raise InputError(
            "--only must match something that is measured",
            f"--only {only!r}",
            "it is searched in suite/network/case/direction/layout, such as "
            "conv3x3/VGG-16/64->64 3x3 at 224/forward/any",
        )
    return tasks
