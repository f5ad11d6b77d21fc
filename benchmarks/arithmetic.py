"""What the arithmetic costs: `python -m benchmarks.arithmetic` prints medians and spread.

A call of `Window.output`, making a Window, a whole `explain`, a search, and `convscape size` from
the start of the process to its end (beside a bare interpreter, which is its floor).
"""

import statistics
import subprocess
import sys
import timeit
from collections.abc import Callable

from convscape.arithmetic import Window
from convscape.arithmetic.chain import solve_chain
from convscape.arithmetic.explain import explain
from convscape.arithmetic.solve import Constraints, solve


def report(name: str, seconds: list[float]) -> None:
    """One line: median, and the range of the middle half."""
    low, middle, high = statistics.quantiles(seconds, n=4)
    scale, unit = (1e6, "us") if middle < 1e-3 else (1e3, "ms")
    print(f"{name:44} {middle * scale:8.2f} {unit}  ({low * scale:.2f} to {high * scale:.2f})")


def calls(function: Callable[[], object], number: int) -> list[float]:
    """Seconds a call, 15 times over."""
    return [t / number for t in timeit.repeat(function, number=number, repeat=15)]


def processes(*command: str) -> list[float]:
    """Seconds from start to end of a process, 15 times, after a warm-up."""

    def run() -> None:
        subprocess.run([sys.executable, *command], check=True, capture_output=True)

    run()
    return calls(run, 1)


def main() -> None:
    """Run everything."""
    window = Window(3, 2, padding=(1, 1))
    report("Window.output(224)", calls(lambda: window.output(224), 100_000))
    report("Window(3, 2, padding=(1, 1))", calls(lambda: Window(3, 2, padding=(1, 1)), 20_000))
    report("explain(window, 224)", calls(lambda: explain(window, 224), 2_000))
    report("solve(224, 112)", calls(lambda: solve(224, 112), 50))
    three = Constraints(kernel=(3, 5, 7))
    report("solve_chain(224, 7, 3), k in 3, 5, 7", calls(lambda: solve_chain(224, 7, 3, three), 3))
    report("python -c pass", processes("-c", "pass"))
    code = (
        "import sys; sys.argv = 'convscape size 5 -k 3 -s 2 -p 1'.split()\n"
        "import convscape.cli; convscape.cli.main()"
    )
    report("convscape size 5 -k 3 -s 2 -p 1", processes("-c", code))


if __name__ == "__main__":
    main()
