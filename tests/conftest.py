"""What holds for the whole run: Keras runs on torch unless the environment says otherwise."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
