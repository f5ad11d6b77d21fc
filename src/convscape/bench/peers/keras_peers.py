"""Keras's own layers on torch (in this process) and on JAX (in another), and ours."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscape.bench.measure import Contestant
from convscape.bench.peers import keras_jobs
from convscape.bench.peers.common import Settings, Unable, need

Builder = Callable[[Settings], Contestant]


def builders(job: str, *arguments: Any) -> dict[str, Builder]:
    """A function of `keras_jobs` and its arguments, for each contestant."""
    return {
        "convscape": lambda _: _here("convscape", job, arguments, "convscape.layers.keras"),
        "Keras on torch": lambda _: _here("Keras on torch", job, arguments, "keras.layers"),
        "Keras on JAX": lambda settings: _elsewhere(job, arguments, settings),
    }


def _here(name: str, job: str, arguments: tuple[Any, ...], module: str) -> Contestant:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = need("keras")
    if keras.config.backend() != "torch":
        raise Unable('set KERAS_BACKEND="torch": another backend is configured')
    call, check = getattr(keras_jobs, job)(import_module(module), *arguments)
    return Contestant(name, call, lambda: tuple(torch.from_numpy(r) for r in check()))


def _elsewhere(job: str, arguments: tuple[Any, ...], settings: Settings) -> Contestant:
    need("keras")
    need("jax")
    process = subprocess.Popen(
        [
            sys.executable, "-m", "convscape.bench.peers.keras_worker",
            job, json.dumps(arguments), str(settings.threads),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    sending, receiving = process.stdin, process.stdout

    def answer() -> dict[str, Any]:
        line = receiving.readline()
        found: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
        if "error" in found:
            close()
            raise Unable(found["error"])
        return found

    def ask(line: str) -> dict[str, Any]:
        sending.write(line + "\n")
        sending.flush()
        return answer()

    def check() -> tuple[torch.Tensor, ...]:
        with tempfile.TemporaryDirectory(prefix="convscape-") as folder:
            file = Path(folder) / "results.npz"
            ask(str(file))
            with np.load(file) as saved:
                return tuple(torch.from_numpy(saved[name]) for name in saved.files)

    def close() -> None:
        sending.close()
        receiving.close()
        process.terminate()
        process.wait()

    answer()
    return Contestant(
        "Keras on JAX",
        lambda: ask("1"),
        check,
        lambda repeats: float(ask(str(repeats))["seconds"]),
        close,
    )
