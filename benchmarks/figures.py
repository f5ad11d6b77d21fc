"""How long figures take: one SVG, a 30-frame GIF, and the largest drawing.

Run: python -m benchmarks.figures [--repeat 7]

Every figure is checked before it is timed: the SVG parses, the GIF has its frames. Times are the
median and the range over the repeats, after one warm-up; the first GIF, which loads Pillow and the
font, is timed in a process of its own.
"""

import argparse
import io
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable

from PIL import Image

from convscape import Window
from convscape.figures import Figure, draw

FIRST_GIF = (
    "import time; start = time.perf_counter()\n"
    "from convscape import Window\n"
    "from convscape.figures import draw\n"
    "draw(Window(3), (7, 8)).gif()\n"
    "print(time.perf_counter() - start)"
)


def still(n: int, style: str) -> Callable[[], str]:
    return lambda: draw(
        Window(3, padding=(1, 1)), n, style=style, animate=False, values="random"
    ).svg()


def moving() -> Figure:
    """A 5x6 output: 30 windows."""
    return draw(Window(3), (7, 8))


def timed(name: str, work: Callable[[], object], repeat: int, limit: float) -> None:
    work()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    report(name, times, limit)


def report(name: str, times: list[float], limit: float) -> None:
    middle = statistics.median(times)
    met = "met" if middle < limit else "MISSED"
    print(
        f"{name:<44}{middle * 1000:9.1f} ms  ({min(times) * 1000:.1f} to {max(times) * 1000:.1f})"
        f"  limit {limit * 1000:g} ms: {met}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    frames = Image.open(io.BytesIO(moving().gif())).n_frames  # type: ignore[attr-defined]
    assert frames == 30, frames
    for n, style in ((5, "numbers"), (32, "numbers"), (32, "plain")):
        ET.fromstring(still(n, style)())
        timed(f"one SVG, {n}x{n}, {style}", still(n, style), repeat, 0.05)
    timed("self-playing SVG of 30 frames", lambda: moving().playing_svg(), repeat, 1)
    timed("GIF of 30 frames", lambda: moving().gif(), repeat, 3)
    cold = [
        float(subprocess.run([sys.executable, "-c", FIRST_GIF], capture_output=True, text=True,
                             check=True).stdout)
        for _ in range(3)
    ]  # fmt: skip
    report("the same with imports, in a new process", cold, 3)
    timed("PNG", lambda: draw(Window(3), 5, animate=False).png(), repeat, 3)
    timed("PDF", lambda: draw(Window(3), 5, animate=False).pdf(), repeat, 3)


if __name__ == "__main__":
    main()
