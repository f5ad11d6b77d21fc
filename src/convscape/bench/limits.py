"""What the machine can do at best, measured: multiply-adds a second, and bytes copied a second.

A result that must multiply more than it moves is bounded by the first, any other by the second. An
algorithm that multiplies less (Winograd) can pass the first; data that fits in a cache can pass the
second.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from convscape.kernels.cpu.simd import SIMD

_SUMS = 24 if SIMD.bits == 512 else 12  # independent sums: enough to fill the pipelines
_STEPS = 1_000_000
_COPIED = 256 << 20  # bytes: beyond every cache
_TIMES = 7


@dataclass(frozen=True, slots=True)
class Limits:
    """Peaks in float32 for one number of threads.

    Args:
        flops: Floating-point operations a second, a multiply-add being two.
        bandwidth: Bytes a second that a copy of a large array reads and writes together.
    """

    flops: float
    bandwidth: float

    def seconds(self, flops: int, moved: int) -> tuple[float, str]:
        """The least time for this work, and what bounds it: "compute" or "memory"."""
        compute, memory = flops / self.flops, moved / self.bandwidth
        return (compute, "compute") if compute >= memory else (memory, "memory")


def measure_limits(threads: int) -> Limits:
    """Both peaks, the best of several tries."""
    return Limits(_flops(threads), _bandwidth())


def _flops(threads: int) -> float:
    run = _multiply_adds()
    start = np.zeros(1, np.float32)
    run(1, start)
    work = 2 * _STEPS * _SUMS * SIMD.lanes(4) * threads
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_TIMES):
            began = time.perf_counter()
            list(pool.map(lambda _: run(_STEPS, start), range(threads)))
            best = min(best, time.perf_counter() - began)
    return work / best


def _bandwidth() -> float:
    """By torch's copy, which uses torch's threads."""
    source = torch.ones(_COPIED, dtype=torch.uint8)
    target = torch.zeros_like(source)
    best = float("inf")
    for _ in range(_TIMES):
        began = time.perf_counter()
        target.copy_(source)
        best = min(best, time.perf_counter() - began)
    return 2 * _COPIED / best


@cache
def _multiply_adds() -> Callable[[int, Any], float]:
    """A loop of `_SUMS` independent vector multiply-adds, all in registers."""

    @intrinsic  # type: ignore[untyped-decorator]
    def spin(_context: Any, steps: Any, start: Any) -> Any:
        def generate(_: Any, builder: Any, __: Any, args: Any) -> Any:
            return _emit(builder, *args)

        return types.float32(types.intp, types.float32), generate

    @njit(nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
    def run(steps, start):  # type: ignore[no-untyped-def]
        return spin(steps, start[0])

    return cast(Callable[[int, Any], float], run)


def _emit(builder: Any, steps: Any, start: Any) -> Any:
    """sums[i] = sums[i] * start + start, `steps` times; returns one number, so that none is cut."""
    i64, i32 = ir.IntType(64), ir.IntType(32)
    vector = ir.VectorType(ir.FloatType(), SIMD.lanes(4))
    name = f"llvm.fma.v{SIMD.lanes(4)}f32"
    fma = ir.Function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, start, ir.Constant(i32, 0))
    mask = ir.Constant(ir.VectorType(i32, SIMD.lanes(4)), [0] * SIMD.lanes(4))
    factor = builder.shuffle_vector(first, undefined, mask)
    before = builder.block
    body, after = builder.append_basic_block("body"), builder.append_basic_block("after")
    builder.branch(body)
    builder.position_at_end(body)
    step = builder.phi(i64)
    step.add_incoming(ir.Constant(i64, 0), before)
    sums = []
    for i in range(_SUMS):
        node = builder.phi(vector)
        # Each starts elsewhere: equal sums would be computed once.
        node.add_incoming(ir.Constant(vector, [float(i)] * SIMD.lanes(4)), before)
        sums.append(node)
    grown = [builder.call(fma, [node, factor, factor]) for node in sums]
    for node, value in zip(sums, grown, strict=True):
        node.add_incoming(value, body)
    following = builder.add(step, ir.Constant(i64, 1))
    step.add_incoming(following, body)
    builder.cbranch(builder.icmp_signed("<", following, steps), body, after)
    builder.position_at_end(after)
    total = grown[0]
    for value in grown[1:]:
        total = builder.fadd(total, value)
    return builder.extract_element(total, ir.Constant(i32, 0))
