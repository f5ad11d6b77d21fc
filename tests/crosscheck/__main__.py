"""The large run: `python -m tests.crosscheck --count 20000`, for each dialect.

Values and refusals of every setting are compared. On JAX every setting is a compilation, so there
`--values` says how many; of the others sizes, refusals and the windows in the traced program are.
For Keras on JAX set KERAS_BACKEND=jax.
"""

import argparse
import os
import sys
import time

from tests.crosscheck.settings import DIALECTS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crosscheck", description=__doc__)
    parser.add_argument("dialects", nargs="*", default=list(DIALECTS), metavar="DIALECT")
    parser.add_argument("--count", type=int, default=20_000, help="settings a dialect")
    parser.add_argument("--values", type=int, default=2_000, help="of those, run and compared")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "torch")

    from tests.crosscheck.compare import run

    wrong = 0
    for dialect in options.dialects:
        # Everything but JAX is quick enough to run every setting.
        plans = [(options.count, True)]
        if dialect == "keras":
            plans.insert(0, (options.count, False))
        if dialect == "jax" or (dialect == "keras" and os.environ["KERAS_BACKEND"] == "jax"):
            plans = [(options.count, False), (options.values, True)]
        for count, values in plans:
            start = time.perf_counter()
            tally = run(dialect, count, values=values, seed=options.seed)
            seconds = time.perf_counter() - start
            print(
                f"{dialect} {'values' if values else 'shapes'}: {count} settings, {seconds:.0f} s"
            )
            for what, times in tally.counts.most_common():
                print(f"  {times:7,} {what}")
            for what, times in tally.contradictions.most_common():
                print(f"          {times:,}: {what}")
            print("\n".join(tally.wrong[:5]), end="")
            wrong += len(tally.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
