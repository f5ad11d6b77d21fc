"""The first call of each op in a new process, when its code has been compiled before.

    python -m benchmarks.first_call [--threads 1] [--rounds 5] [--profile] [--json]

Method: a process of its own for each op and round, after one that fills the cache. It imports torch
and Numba, then times in turn: what Numba does before its first function of any kind (it fills its
registries and imports SciPy), importing `convscape.ops`, the first call (checked against torch's
own op), and a second one. The figures are medians; the limit is on all that comes beyond the two
imports. `--profile` prints where the time went.
"""

import argparse
import json
import statistics
import subprocess
import sys
from typing import Any

CALLS = {
    "conv2d, matrix product": "f.conv2d(x, w, None, 2, 1)",
    # On the matrix unit, where there is one.
    "conv2d, many channels": "f.conv2d(x.repeat(1, 8, 1, 1), w.repeat(8, 8, 1, 1)[..., :1, :1])",
    "conv2d, winograd": "f.conv2d(x, w, None, 1, 1)",
    "conv2d, depthwise": "f.conv2d(x, w[:, :1], None, 1, 1, 1, 64)",
    "conv2d and its gradients": "grads(f.conv2d(x, w, None, 2, 1))",
    "conv_transpose2d": "f.conv_transpose2d(x, w, None, 2, 1, 1)",
    "max_pool2d": "f.max_pool2d(x, 2)",
    "avg_pool2d": "f.avg_pool2d(x, 2)",
    "batch_norm": "f.batch_norm(x, None, None, training=True)",
}
"""What is called; f is whose op it is."""

LIMIT = 0.5
"""Seconds that a first call should take at most."""

PROCESS = """
import json, sys, time
import torch, numba
from numba.core.registry import CPUDispatcher, cpu_target

threads, call, profiled = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "1"
torch.set_num_threads(threads)
torch.manual_seed(0)
x, w = torch.randn(2, 64, 28, 28), torch.randn(64, 64, 3, 3)
x.requires_grad_(), w.requires_grad_()

def grads(y):
    return torch.autograd.grad(y.sum(), (x, w))[0]

want = eval(call, {"f": torch.nn.functional, "x": x, "w": w, "grads": grads})
if profiled:
    import cProfile, pstats
    profile = cProfile.Profile()
    profile.enable()
begin = time.perf_counter()
cpu_target.target_context.refresh(), cpu_target.typing_context.refresh()
start = time.perf_counter()
from convscape import ops
imported = time.perf_counter()
got = eval(call, {"f": ops, "x": x, "w": w, "grads": grads})
first = time.perf_counter()
if profiled:
    profile.disable()
    pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(45)
again = time.perf_counter()
eval(call, {"f": ops, "x": x, "w": w, "grads": grads})
second = time.perf_counter()
assert float((got - want).abs().max() / want.abs().max()) < 1e-4, "wrong result"

loaded = missed = 0
for name, module in list(sys.modules.items()):
    if name.startswith("convscape.kernels.cpu"):
        for value in vars(module).values():
            if isinstance(value, CPUDispatcher) and value.__module__ == name:
                loaded += sum(value.stats.cache_hits.values())
                missed += sum(value.stats.cache_misses.values())
print(json.dumps({"numba": start - begin, "import": imported - start, "call": first - imported,
                  "second": second - again, "loaded": loaded, "compiled": missed}))
"""


def measure(call: str, threads: int, profiled: bool = False) -> dict[str, Any]:
    """One process: seconds of each step, and how many functions were loaded or compiled."""
    command = [sys.executable, "-c", PROCESS, str(threads), call, str(int(profiled))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    if profiled:
        print(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def main() -> None:
    """Measure every op and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for name, call in CALLS.items():
        measure(call, options.threads)  # fills the cache
        if options.profile:
            print(name)
            measure(call, options.threads, profiled=True)
            continue
        found = [measure(call, options.threads) for _ in range(options.rounds)]
        row = {key: statistics.median(f[key] for f in found) for key in found[0]}
        assert row["compiled"] == 0, f"{name}: {row['compiled']:.0f} functions were compiled again"
        rows.append({"op": name, "threads": options.threads, **row})
        if not options.json:
            total = row["numba"] + row["import"] + row["call"]
            print(
                f"{name:25s} {total:5.2f} s: Numba {row['numba']:.2f}, import {row['import']:.2f}, "
                f"first call {row['call']:.3f} ({row['loaded']:.0f} functions loaded), "
                f"second {row['second'] * 1e3:.1f} ms; "
                f"limit {LIMIT} s: {'met' if total < LIMIT else 'MISSED'}",
                flush=True,
            )
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
