"""Convolution, pooling and batch normalization on torch tensors, differentiable, to any order.

The signatures are those of `torch.nn.functional`. If unsure, call them as you would call torch's.
`algorithm=` names a row of the table (`convscape.kernels.explain` lists them); "auto" takes the
first that can.
"""

from convscape.ops.batch_norm import (
    batch_norm,
    batch_norm_moments,
    batch_norm_training,
    update_moments,
)
from convscape.ops.conv import ConstantWeight, conv2d
from convscape.ops.conv_transpose import conv_transpose2d
from convscape.ops.pool import avg_pool2d, max_pool2d

__all__ = [
    "ConstantWeight",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_moments",
    "batch_norm_training",
    "conv2d",
    "conv_transpose2d",
    "max_pool2d",
    "update_moments",
]
