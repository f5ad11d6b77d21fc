"""A process of its own for Keras on JAX: Keras's backend is fixed when it is imported.

    python -m convscape.bench.peers.keras_worker JOB ARGUMENTS THREADS

The parent sends lines on standard input, and gets one JSON object back for each: a file name asks
for the results in it (.npz), a number for the seconds of that many calls. Waiting costs nothing.
"""

import json
import os
import sys


def main() -> None:
    """Build the job, then answer until standard input ends."""
    job, arguments, threads = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    from convscape.bench.peers.common import cores

    # JAX starts a thread a core that it may use; this is the only way to fewer.
    if cores() and threads < len(cores()):
        os.sched_setaffinity(0, cores()[:threads])

    def answer(**what: object) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    try:
        import keras
        import numpy as np

        from convscape.bench.measure import seconds_of
        from convscape.bench.peers import keras_jobs

        call, check = getattr(keras_jobs, job)(keras.layers, *arguments)
        answer(ready=True)
        for line in sys.stdin:
            if line.strip().isdigit():
                answer(seconds=seconds_of(call, int(line)))
            else:
                np.savez(line.strip(), *check())
                answer(saved=True)
    except Exception as error:
        answer(error=f"{type(error).__name__}: {error}".splitlines()[0])


if __name__ == "__main__":
    main()
