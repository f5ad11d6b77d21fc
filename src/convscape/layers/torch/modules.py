"""Torch's own modules with another `forward`: parameters, names, checkpoints and repr stay torch's.

What our kernels do not cover (half precision, other devices, autocast, tracing by torch.jit,
torch.fx or torch.export, torch.func's transforms) is computed as the stock module does.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from convscape import ops
from convscape.layers.torch import calls


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` on our kernels; same arguments, same checkpoints.

    y[n, k, h, w] = bias[k] + Σ_{c, r, s} weight[k, c, r, s] x[n, c, h', w'], as
    `convscape.ops.conv2d`. A padding_mode other than "zeros" is the stock module's.

    Args:
        in_channels, out_channels, kernel_size, ...: As `torch.nn.Conv2d`.

    Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 1.1.

    Example:
        >>> Conv2d(3, 64, 3, padding=1)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 64, 32, 32])
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W) to (N, K, H', W') or (K, H', W')."""
        return self.compute(input, False)

    def compute(self, input: Tensor, relu: bool) -> Tensor:
        """The same, with a ReLU in the same pass if asked for."""
        if self.padding_mode != "zeros":
            y = super().forward(input)
            return torch.relu(y) if relu else y
        return calls.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups,
            relu=relu,
        )  # fmt: skip


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` on our kernels; same arguments, same checkpoints.

    The input gradient of the convolution that it transposes, as `convscape.ops.conv_transpose2d`.

    Args:
        in_channels, out_channels, kernel_size, ...: As `torch.nn.ConvTranspose2d`.

    Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 4.

    Example:
        >>> ConvTranspose2d(8, 3, 2, stride=2)(torch.zeros(1, 8, 16, 16)).shape
        torch.Size([1, 3, 32, 32])
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W) or (C, H, W) to (N, K, H', W') or (K, H', W')."""
        if not calls.covered(input):
            return super().forward(input, output_size)
        given: Any = self.stride, self.padding, self.kernel_size, 2, self.dilation
        extra = self._output_padding(input, output_size, *given)
        return calls.conv_transpose2d(
            input, self.weight, self.bias, self.stride, _numbers(self.padding), extra,
            self.groups, self.dilation,
        )  # fmt: skip


class MaxPool2d(nn.MaxPool2d):
    """`torch.nn.MaxPool2d` on our kernels, as `convscape.ops.max_pool2d`.

    Args:
        kernel_size, stride, ...: As `torch.nn.MaxPool2d`, return_indices and ceil_mode included.

    Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 1.2.

    Example:
        >>> MaxPool2d(2)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 3, 16, 16])
    """

    def forward(self, input: Tensor) -> Any:
        """(N, C, H, W) or (C, H, W); with `return_indices` a pair."""
        return calls.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices,
        )  # fmt: skip


class AvgPool2d(nn.AvgPool2d):
    """`torch.nn.AvgPool2d` on our kernels, as `convscape.ops.avg_pool2d`.

    Args:
        kernel_size, stride, ...: As `torch.nn.AvgPool2d`.

    Source: V. Dumoulin and F. Visin, arXiv 1603.07285, section 1.2.

    Example:
        >>> AvgPool2d(2)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 3, 16, 16])
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (C, H, W)."""
        return calls.avg_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )  # fmt: skip


class BatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` on our kernels; same arguments, same checkpoints.

    y = weight (x - mean) / sqrt(var + eps) + bias, as `convscape.ops.batch_norm`. The running
    statistics, num_batches_tracked and a momentum of None (the plain average over all batches so
    far) are torch's.

    Args:
        num_features, eps, momentum, ...: As `torch.nn.BatchNorm2d`.

    Source: S. Ioffe and C. Szegedy, arXiv 1502.03167, algorithms 1 and 2.

    Example:
        >>> BatchNorm2d(3)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return self.compute(input, False)

    def compute(self, input: Tensor, relu: bool) -> Tensor:
        """The same, with a ReLU in the same pass if asked for."""
        if not calls.covered(input):
            y = super().forward(input)
            return torch.relu(y) if relu else y
        self._check_input_dim(input)
        momentum = 0.0 if self.momentum is None else self.momentum
        tracks = self.training and self.track_running_stats
        if tracks and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1 / float(self.num_batches_tracked)
        # Without statistics of its own the module uses the batch's, in evaluation too.
        uses_batch = self.training or (self.running_mean is None and self.running_var is None)
        kept = not self.training or self.track_running_stats
        return ops.batch_norm(
            input, self.running_mean if kept else None, self.running_var if kept else None,
            self.weight, self.bias, uses_batch, momentum, self.eps, relu=relu,
        )  # fmt: skip


def _numbers(padding: str | Sequence[int]) -> Sequence[int]:
    assert not isinstance(padding, str), "torch's transposed convolution takes numbers"
    return padding
