"""The machine and the versions that a study ran on."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from convscape._version import __version__

_PACKAGES = ("keras", "torch", "numba", "numpy", "scikit-learn", "matplotlib")


def environment() -> dict[str, Any]:
    """Versions, processor, cores and memory, as JSON values."""
    return {
        "convscape": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": _memory(),
    }


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
