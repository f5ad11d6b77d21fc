"""Convolution, pooling and batch normalization on NumPy arrays, without autograd.

If unsure: use `convscape.ops` (torch tensors, differentiable) instead. Here, `choose` picks an
algorithm from the table for a `Problem`, `explain` says why, and `load` imports it.
"""

from convscape.kernels.algorithm import Algorithm, Problem
from convscape.kernels.choose import Verdict, choose, explain, load
from convscape.kernels.table import TABLE

__all__ = ["TABLE", "Algorithm", "Problem", "Verdict", "choose", "explain", "load"]
