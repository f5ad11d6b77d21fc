"""Convolution forward and both gradients, ours against torch's, on VGG-16's layers.

    python -m benchmarks.convolution [--threads 2] [--rounds 9] [--batch 1] [--json]

Method: every result is first checked against torch in float64. Then ours and both of torch's
layouts run in turn, `--rounds` times after a warm-up; the figure is the median time, and the ratio
is that of our median to the faster layout of torch in the same run. Losses are printed too.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from benchmarks.timing import medians
from convscape import Geometry
from convscape.kernels import Problem, choose, load

VGG16 = (
    (3, 64, 224),
    (64, 64, 224),
    (64, 128, 112),
    (128, 128, 112),
    (128, 256, 56),
    (256, 256, 56),
    (256, 512, 28),
    (512, 512, 28),
    (512, 512, 14),
)
"""Input channels, output channels, side; all 3x3, stride 1, padding 1 (arXiv 1409.1556)."""


def measure(
    c: int, k: int, side: int, batch: int, threads: int, rounds: int
) -> list[dict[str, Any]]:
    """One layer: error and times of the three problems."""
    x, w = torch.randn(batch, c, side, side), torch.randn(k, c, 3, 3) / (9 * c) ** 0.5
    g = Geometry.of((side, side), 3, 1, 1, in_channels=c, out_channels=k)
    problem = Problem("convolution", tuple(x.shape), geometry=g)
    kernels = load(choose(problem))
    along = load(choose(replace(problem, direction="weight_gradient")))
    x64, w64 = x.double().requires_grad_(), w.double().requires_grad_()
    y64 = functional.conv2d(x64, w64, None, 1, 1)
    dy = torch.randn(y64.shape)
    exact = (y64, *torch.autograd.grad(y64, (x64, w64), dy.double()))
    last = {"memory_format": torch.channels_last}
    layouts = [(x, w, dy), tuple(t.contiguous(**last) for t in (x, w, dy))]
    xs, ws, dys = (t.numpy() for t in layouts[1])
    spatial = (side, side)
    ours: tuple[Callable[[], Any], ...] = (
        lambda: kernels.forward(xs, ws, None, g, threads),
        lambda: kernels.input_grad(dys, ws, g, spatial, threads),
        lambda: along.weight_grad(xs, dys, g, threads),
    )

    def torchs(problem: int, layout: tuple[torch.Tensor, ...]) -> Callable[[], Any]:
        a, b, d = layout
        if problem == 0:
            return lambda: functional.conv2d(a, b, None, 1, 1)
        mask = [problem == 1, problem == 2, False]
        return lambda: torch.ops.aten.convolution_backward(
            d, a, b, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask
        )

    results = []
    for i, name in enumerate(("forward", "input gradient", "weight gradient")):
        got, want = torch.from_numpy(ours[i]()).double(), exact[i].detach()
        error = float((got - want).abs().max() / want.pow(2).mean().sqrt())
        assert error < 1e-4, f"{name} of {c}x{k}x{side} is wrong: error over RMS {error:.1e}"
        seconds = medians([ours[i], *(torchs(i, layout) for layout in layouts)], rounds)
        flops = 2 * g.macs(spatial) * batch
        results.append(
            {
                "problem": name, "channels": c, "filters": k, "side": side,
                "gflops": round(flops / seconds[0] / 1e9),
                "torch_nchw_gflops": round(flops / seconds[1] / 1e9),
                "torch_channels_last_gflops": round(flops / seconds[2] / 1e9),
                "time_ratio": round(seconds[0] / min(seconds[1:]), 2),
                "error_over_rms": error,
            }
        )  # fmt: skip
    return results


def main() -> None:
    """Measure all layers and print one line a problem."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for c, k, side in VGG16:
        for row in measure(c, k, side, options.batch, options.threads, options.rounds):
            rows.append(row)
            if not options.json:
                peers = f"{row['torch_nchw_gflops']:4d} / {row['torch_channels_last_gflops']:4d}"
                print(
                    f"{c:4d} -> {k:3d} at {side:3d}  {row['problem']:15s} "
                    f"ours {row['gflops']:4d} GFLOP/s, torch (NCHW / channels-last) {peers}; "
                    f"our time / torch's best {row['time_ratio']:.2f}",
                    flush=True,
                )
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
