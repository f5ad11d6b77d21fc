"""What a worker process does with one run; imports the heavy libraries inside the worker only."""

import os
import time
from typing import Any

from convscape.study.config import Config, Run
from convscape.study.data import Dataset
from convscape.study.pool import Tell


def perform(run: Run, shared: tuple[Config, Dataset], tell: Tell) -> dict[str, Any]:
    """Train one network in this process; the record, and the seconds it took."""
    # Keras reads it when it is imported, which is below.
    os.environ["KERAS_BACKEND"] = "torch"
    import torch

    from convscape.study.experiments import landscape

    torch.set_num_threads(1)
    started = time.perf_counter()
    record = landscape.perform(run, *shared, tell)
    return {**record, "seconds": round(time.perf_counter() - started, 3)}
