"""What holds for the whole run.

Keras runs on torch unless the environment says otherwise, and torch on one thread: two test
processes share two cores, and a team for tiny tensors only waits. Tests of threads ask for them.

A test draws the same numbers in every run, whichever process takes it and whatever ran before:
a bound on an error holds or does not. `CONVSCAPE_DRAW=3` draws others, for trying how near it is.
"""

import os
import random
import sys
from zlib import crc32

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")

FIRST = "test_warmup.py", "test_study_resume.py"
"""Files whose tests are few and long: begun last, one would keep a process busy alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes take the files in this order."""
    items.sort(key=lambda item: item.path.name not in FIRST)


@pytest.fixture(autouse=True)
def _draws_of_its_own(request: pytest.FixtureRequest) -> None:
    seed = crc32(f"{request.node.nodeid} {os.environ.get('CONVSCAPE_DRAW', '')}".encode())
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)
