"""What holds for the whole run.

Keras runs on torch unless the environment says otherwise, and torch on one thread: two test
processes share two cores, and a team for tiny tensors only waits. Tests of threads ask for them.
"""

import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

FIRST = "test_warmup.py", "test_study_resume.py"
"""Files whose tests are few and long: begun last, one would keep a process busy alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes take the files in this order."""
    items.sort(key=lambda item: item.path.name not in FIRST)
