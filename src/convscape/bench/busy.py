"""What others did on this machine meanwhile: times beside a busy neighbour are worth little."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

NOISY = 0.15
"""Cores that others may keep busy beyond the idle ones, before a row is marked."""


def _now() -> tuple[float, int, int] | None:
    """Seconds, and ticks of all processors and of this process with its children; Linux only."""
    try:
        fields = [int(v) for v in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        own = _ticks("self")
        for task in Path("/proc/self/task").iterdir():
            own += sum(map(_ticks, (task / "children").read_text().split()))
    except (OSError, ValueError, IndexError):
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal: all but the idle ones.
    return time.perf_counter(), sum(fields) - fields[3] - fields[4], own


def _ticks(process: str) -> int:
    """Processor time of a process and of its children that have ended."""
    stat = Path(f"/proc/{process}/stat").read_text()
    return sum(map(int, stat.rpartition(")")[2].split()[11:15]))


@dataclass(slots=True)
class Watch:
    """Counts from when it is made."""

    start: tuple[float, int, int] | None = field(default_factory=_now)

    def others(self) -> float | None:
        """Cores that others kept busy on average; None where the system does not say."""
        end = _now()
        if self.start is None or end is None:
            return None
        seconds = max(end[0] - self.start[0], 1e-3)
        ticks = (end[1] - self.start[1]) - (end[2] - self.start[2])
        return max(0.0, round(ticks / os.sysconf("SC_CLK_TCK") / seconds, 2))
