"""Experiments that measure what batch normalization does to a training, with a report to read.

Importing this package loads the standard library only; NumPy, torch and Keras are imported when a
study starts, after its input has been checked.

- `config`: what is asked for, and the runs it plans
- `sources`, `data`: images from a name or a path; the split and the standardisation
- `experiments`: what one run does and records
- `model`, `probe`, `state`: the network, the smoothness probes, and putting everything back
- `engine`, `pool`, `store`: which runs are left, processes to do them, files that survive a crash
- `summary`, `plots`, `report`: the verdicts, the figures and the page
"""

from convscape.study.config import Config, Run

__all__ = ["Config", "Run"]
