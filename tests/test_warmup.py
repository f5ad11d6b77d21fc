"""`convscape warmup` compiles all there is: afterwards no process compiles anything."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convscape import cli, warmup
from convscape.kernels import TABLE

# Not the warm-up's own calls: other sizes, a batch of 1, and Keras's layers.
CALLS = """
import torch
from convscape import ops, warmup
from convscape.layers import keras as layers
from convscape.layers.torch import accelerate

for team in (1, 2):
    torch.set_num_threads(team)
    for form in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(1, 24, 9, 11).contiguous(memory_format=form).requires_grad_()
        bias = torch.randn(24, requires_grad=True)
        mean, var = torch.zeros(24), torch.ones(24)
        for kernel, stride, groups in ((3, 1, 1), (1, 1, 1), (3, 2, 1), (5, 2, 24), (3, 1, 3)):
            w = torch.randn(24, 24 // groups, kernel, kernel, requires_grad=True)
            ops.conv2d(x, w, bias, stride, "same", groups=groups).sum().backward()
        for pool in (ops.max_pool2d, ops.avg_pool2d):
            for window in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
                pool(x, *window).square().sum().backward()
        for training in (True, False):
            y = ops.batch_norm(x, mean, var, bias, bias, training)
            y.square().sum().backward()
        with torch.no_grad():
            ops.conv2d(x, w, groups=groups)
            ops.max_pool2d(x, 2)
    images = torch.randn(2, 8, 8, 3)
    for layer in (layers.Conv2D(5, 3, padding="same"), layers.MaxPooling2D(),
                  layers.AveragePooling2D(2), layers.BatchNormalization()):
        layer(images, training=True) if layer.name.startswith("batch") else layer(images)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU6(), torch.nn.MaxPool2d(2))
fast = accelerate(net)
for _ in range(3):
    fast(torch.randn(1, 3, 12, 12))
compiled = {n: sum(d.stats.cache_misses.values()) for n, d in warmup.dispatchers().items()}
print([name for name, count in compiled.items() if count])
"""


def python(code: str, cache: Path) -> str:
    """What a new process prints, with its compiled code kept in this folder."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**environment, "XDG_CACHE_HOME": str(cache)},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


WARMUP = "from convscape.cli.app import app; app(['warmup', '--workers', '2'])"


def test_after_it_a_new_process_compiles_nothing(tmp_path: Path) -> None:
    # First into the cache that all tests share, so that no other test has to compile this; then
    # in a copy of it, where no other test is at work.
    folder = warmup.warm(workers=2).folder
    copy = tmp_path / "convscape" / folder.name
    shutil.copytree(folder, copy)
    python(WARMUP, tmp_path)
    second = python(WARMUP, tmp_path)
    assert second.startswith("everything is there")
    assert str(copy) in second
    assert python(CALLS, tmp_path).splitlines()[-1] == "[]"
    kept = {file.name.rpartition("-")[0] for file in copy.rglob("*.nbc")}
    missing = [name for name in warmup.dispatchers() if ".".join(name.split(".")[-2:]) not in kept]
    assert missing == [], "every kernel is reached"


SIGNATURES = """
from convscape import warmup
from convscape.kernels.cpu import jit

def known():
    return {(n, str(s)) for n, d in warmup.dispatchers().items() for s in d.nopython_signatures}

entries = {n for n, d in warmup.dispatchers().items() if not isinstance(d, jit._Inner)}
for job in warmup.jobs():
    warmup.run(job)
before = known()
"""


def test_it_loads_every_entry_and_no_other_call_needs_another() -> None:
    # Whatever the cache already holds: the warm-up itself must have asked for it.
    code = SIGNATURES + CALLS + "print(entries - {n for n, _ in before}, sorted(known() - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "set() []"


def test_every_compiled_algorithm_has_its_jobs() -> None:
    ours = {
        (r.op, r.name) for r in TABLE if r.module and r.module.startswith("convscape.kernels.cpu")
    }
    between = {("networks", "replay")}
    assert {(job.op, job.algorithm) for job in warmup.jobs()} == ours | between
    assert {job.dtype for job in warmup.jobs()} == {"float32", "float64"}


def test_no_workers_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["convscape", "warmup", "--workers", "0"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("convscape: error: --workers must be 1 or more")
