"""How smooth the explorer is: times in a real browser.

    python -m benchmarks.explorer

A step is one move of the window with all that is painted and spelled out; style and layout are
forced, so they are in the time. Frames are what the browser showed while it played.
"""

import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.explorer_support import Tab, browser, serving

LINKS = {
    "5x5, k=3": "i=5&k=3&s=2&p=1",
    "32x32, k=3": "i=32&k=3&s=1&p=1",
    "32x32, k=7": "i=32&k=7&s=1&p=3",
    "transposed, 16 to 32": "op=transposed&i=16&k=4&s=2&p=1",
    "the same, scattered": "op=transposed&i=16&k=4&s=2&p=1&view=scatter",
    "4 channels of 16x16": "i=16&k=3&s=1&p=1&c=4&f=4",
}
TIMED = """(what) => {
  const a = document.querySelector(".cs").convscape;
  const steps = Number(a.transport.position.input.max) + 1;
  const acts = {
    step: (i) => a.transport.goto(i % steps),
    hover: (i) => {
      const cells = [...a.grids.input.cells.values()];
      a.setHover({ part: "input", cell: cells[(i * 37) % cells.length].cell });
    },
    setting: () => a.refresh(),
  };
  const times = [];
  const count = what === "setting" ? 12 : 120;
  for (let i = 0; i < count; i += 1) {
    const from = performance.now();
    acts[what](i);
    a.stage.getBoundingClientRect();
    times.push(performance.now() - from);
  }
  a.setHover(null);
  return times;
}"""
FRAMES = """() => new Promise((done) => {
  const a = document.querySelector(".cs").convscape;
  const times = [];
  let last = performance.now();
  const tick = (now) => {
    a.transport.step(1);
    times.push(now - last);
    last = now;
    if (times.length < 60) requestAnimationFrame(tick);
    else done(times.slice(1));
  };
  requestAnimationFrame(tick);
})"""
PICTURE = """(kind) => {
  const a = document.querySelector(".cs").convscape;
  const from = performance.now();
  const made = a[kind]();
  return [performance.now() - from, made.length];
}"""


def spread(times: list[float]) -> str:
    """Median and the slowest of twenty, in milliseconds."""
    high = sorted(times)[int(len(times) * 0.95)]
    return f"{statistics.median(times):6.1f} {high:6.1f}"


def row(page: Any, name: str) -> str:
    cells = [spread(page.evaluate(TIMED, what)) for what in ("step", "hover", "setting")]
    return f"{name:24}" + "   ".join([*cells, spread(page.evaluate(FRAMES))])


def main() -> None:
    with browser() as started, serving() as server:
        tab = Tab(started, server.address)
        print(f"Chromium {started.version}; milliseconds, median and 95th percentile")
        print(f"{'':24}{'step':>13}   {'hover':>13}   {'setting':>13}   {'frame, playing':>13}")
        for name, link in LINKS.items():
            print(row(tab.open(link), name))
        page = tab.open("i=8&k=3&s=1&p=0")
        for kind in ("svg", "gif"):
            time, size = page.evaluate(PICTURE, kind)
            print(f"{kind.upper()} of 36 steps: {time:.0f} ms, {size / 1024:.0f} kB")
        tab.close()


if __name__ == "__main__":
    main()
