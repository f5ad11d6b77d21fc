"""What holds for the whole run.

Keras runs on torch unless the environment says otherwise, and torch on one thread: two test
processes share two cores, and a team for tiny tensors only waits. Tests of threads ask for them.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("OMP_NUM_THREADS", "1")
