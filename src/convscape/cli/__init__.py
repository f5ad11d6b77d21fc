"""The command line: parse, make one library call, print."""

import os
import sys


def main() -> None:
    """Run the command line; an `InputError` becomes one line and exit status 2."""
    # Imported here, so that importing the package costs nothing.
    from convscape.arithmetic.errors import InputError
    from convscape.cli.quick import QUICK, run

    try:
        if sys.argv[1:3] == ["bench", "explain"]:
            # A layer's options, as `size` has them; everything else after `bench` is a suite.
            run("bench_explain", sys.argv[3:])
            sys.stdout.flush()
            return
        if sys.argv[1:] and sys.argv[1] in QUICK:
            run(sys.argv[1], sys.argv[2:])
            sys.stdout.flush()
            return
        from convscape.cli.app import app

        app()
    except InputError as error:
        print(f"convscape: error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        # The reader (head, less) has had enough: what is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
