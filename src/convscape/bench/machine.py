"""The machine, and the versions of everyone who takes part."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from convscape._version import __version__
from convscape.bench.peers.common import cores
from convscape.kernels.cpu import amx_unit
from convscape.kernels.cpu.simd import SIMD

_PACKAGES = ("torch", "jax", "jaxlib", "keras", "onnxruntime", "openvino", "numba", "numpy", "onnx")

THREADS_NOTE = (
    "threads: torch and convscape by torch's setting, ONNX Runtime and OpenVINO by an option of "
    "theirs; XLA has no such option and is confined to as many cores (where the system allows it)"
)


def machine() -> dict[str, Any]:
    """Processor, cores, width of its vectors, whether it has a matrix unit, memory, system."""
    return {
        "processor": _processor(),
        "cores": len(cores()) or os.cpu_count() or 1,
        "vector_bits": SIMD.bits,
        "matrix_unit": amx_unit.missing() is None,
        "memory_gib": _memory(),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str | None]:
    """Versions by package; None for what is not installed."""
    found: dict[str, str | None] = {
        "convscape": __version__,
        "python": platform.python_version(),
    }
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    """GiB of main memory, or None where the system does not say."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
