"""Keras layers on this package's kernels: drop-in for `keras.layers`, on Keras's torch backend.

Each subclasses Keras's own layer of the same name and replaces `call`, so that every argument,
default, initializer, regularizer and constraint, and saving and loading, are Keras's; what Keras
does around a call is done where it does anything (`convscape.layers.keras_call`).
What the kernels do not cover (a mask, renorm, another rank of data) Keras's own `call` computes.
"""

from typing import Any

import keras
import torch
from keras.src.backend import in_stateless_scope  # it has no public name

from convscape import ops
from convscape.arithmetic.dialects import window
from convscape.arithmetic.errors import InputError
from convscape.layers.keras_call import TYPES, Direct, values

if keras.config.backend() != "torch":
    raise InputError(
        "convscape.layers.keras needs Keras on its torch backend",
        f"backend {keras.config.backend()!r}",
        'set the environment variable KERAS_BACKEND="torch" before Keras is imported',
    )


@keras.saving.register_keras_serializable(package="convscape")
class Conv2D(Direct, keras.layers.Conv2D):  # type: ignore[misc]
    """Two-dimensional convolution with `keras.layers.Conv2D`'s arguments and defaults.

    y = activation(kernel * x + bias), with TensorFlow's rule for `padding="same"`.

    Args:
        filters: Output channels.
        kernel_size: Kernel cells, one value or one an axis.
        strides: Steps; default (1, 1).
        padding: "valid" (default) or "same".
        data_format: "channels_last" or "channels_first"; default Keras's setting.
        dilation_rate: Distance between kernel cells; default (1, 1).
        groups: Channel groups; default 1.
        activation: Name or function; default none.
        use_bias: Default True.
        **kwargs: Initializers, regularizers and constraints, as in Keras.

    Source: https://keras.io/api/layers/convolution_layers/convolution2d/

    Example:
        >>> Conv2D(64, 3, padding="same")(np.zeros((2, 32, 32, 3), "float32")).shape
        torch.Size([2, 32, 32, 64])
    """

    def call(self, inputs: Any) -> Any:
        """Convolve; shapes as `data_format` says."""
        x = _channels_first(inputs, self.data_format)
        # (R, S, C, K) to (K, C, R, S): a view, the kernels read any strides.
        weight = self.kernel.value if hasattr(self.kernel, "value") else self.kernel
        y = ops.conv2d(
            x,
            weight.to(x.dtype).permute(3, 2, 0, 1),
            self.bias.value.to(x.dtype) if self.use_bias else None,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.groups,
        )
        y = _as_given(y, self.data_format)
        return y if self.activation is None else self.activation(y)


@keras.saving.register_keras_serializable(package="convscape")
class Conv2DTranspose(Direct, keras.layers.Conv2DTranspose):  # type: ignore[misc]
    """Two-dimensional transposed convolution, `keras.layers.Conv2DTranspose`'s arguments.

    y = activation(the input gradient of a convolution with this kernel, applied to x, + bias).

    Args:
        filters: Output channels.
        kernel_size: Kernel cells, one value or one an axis.
        strides: Distance of neighbouring input cells in the output; default (1, 1).
        padding: "valid" (default) or "same".
        output_padding: One value or one an axis, below the stride; None (default) gives n s cells
            from n at stride s ("same"), or (n - 1) s + max(extent, s) ("valid").
        data_format: "channels_last" or "channels_first"; default Keras's setting.
        dilation_rate: Distance between kernel cells; default (1, 1); not together with strides.
        activation: Name or function; default none.
        use_bias: Default True.
        **kwargs: Initializers, regularizers and constraints, as in Keras.

    Source: https://keras.io/api/layers/convolution_layers/convolution2d_transpose/

    Example:
        >>> Conv2DTranspose(8, 3, 2, "same")(np.zeros((2, 16, 16, 3), "float32")).shape
        torch.Size([2, 32, 32, 8])
    """

    def call(self, inputs: Any) -> Any:
        """Convolve the other way; shapes as `data_format` says."""
        x = _channels_first(inputs, self.data_format)
        extra = self.output_padding or (None, None)
        windows = [
            window("keras", "transposed", n, k, s, self.padding, d, output_padding=e)
            for n, k, s, d, e in zip(
                x.shape[2:], self.kernel_size, self.strides, self.dilation_rate, extra, strict=True
            )
        ]
        # Keras's names say how the spread input is padded; ours, how the convolution that is
        # transposed pads. A negative number of it is output_padding.
        pairs = [w.adjoint(n).padding for w, n in zip(windows, x.shape[2:], strict=True)]
        # (R, S, K, C) to (C, K, R, S): a view, the kernels read any strides.
        weight = self.kernel.value if hasattr(self.kernel, "value") else self.kernel
        y = ops.conv_transpose2d(
            x,
            weight.to(x.dtype).permute(3, 2, 0, 1),
            self.bias.value.to(x.dtype) if self.use_bias else None,
            self.strides,
            [(low, max(high, 0)) for low, high in pairs],
            [max(-high, 0) for _, high in pairs],
            dilation=self.dilation_rate,
        )
        y = _as_given(y, self.data_format)
        return y if self.activation is None else self.activation(y)


@keras.saving.register_keras_serializable(package="convscape")
class MaxPooling2D(Direct, keras.layers.MaxPooling2D):  # type: ignore[misc]
    """Maximum pooling with `keras.layers.MaxPooling2D`'s arguments and defaults.

    Args:
        pool_size: Window; default (2, 2).
        strides: Steps; default the window's size.
        padding: "valid" (default) or "same"; padding never wins.
        data_format: "channels_last" or "channels_first"; default Keras's setting.
        **kwargs: As in Keras.

    Source: https://keras.io/api/layers/pooling_layers/max_pooling2d/

    Example:
        >>> MaxPooling2D()(np.zeros((2, 32, 32, 3), "float32")).shape
        torch.Size([2, 16, 16, 3])
    """

    def call(self, inputs: Any) -> Any:
        """Pool; shapes as `data_format` says."""
        x = _channels_first(inputs, self.data_format)
        y = ops.max_pool2d(x, self.pool_size, self.strides, self.padding)
        return _as_given(y, self.data_format)


@keras.saving.register_keras_serializable(package="convscape")
class AveragePooling2D(Direct, keras.layers.AveragePooling2D):  # type: ignore[misc]
    """Average pooling with `keras.layers.AveragePooling2D`'s arguments and defaults.

    Args:
        pool_size: Window, one value or one an axis.
        strides: Steps; default the window's size.
        padding: "valid" (default) or "same"; padding does not count in the average.
        data_format: "channels_last" or "channels_first"; default Keras's setting.
        **kwargs: As in Keras.

    Source: https://keras.io/api/layers/pooling_layers/average_pooling2d/

    Example:
        >>> AveragePooling2D(2)(np.zeros((2, 32, 32, 3), "float32")).shape
        torch.Size([2, 16, 16, 3])
    """

    def call(self, inputs: Any) -> Any:
        """Pool; shapes as `data_format` says."""
        x = _channels_first(inputs, self.data_format)
        y = ops.avg_pool2d(x, self.pool_size, self.strides, self.padding, count_include_pad=False)
        return _as_given(y, self.data_format)


@keras.saving.register_keras_serializable(package="convscape")
class BatchNormalization(Direct, keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalization with `keras.layers.BatchNormalization`'s arguments and defaults.

    y = gamma (x - mean) / sqrt(var + epsilon) + beta; training uses the batch's statistics and
    moves moving = momentum moving + (1 - momentum) batch, with the biased variance.

    Args:
        axis: The channel axis; default -1.
        momentum: What the moving statistics keep; default 0.99.
        epsilon: Added to the variance; default 0.001.
        center: Whether there is a beta; default True.
        scale: Whether there is a gamma; default True.
        **kwargs: Initializers, regularizers and constraints, as in Keras.

    Source: S. Ioffe and C. Szegedy, arXiv 1502.03167;
        https://keras.io/api/layers/normalization_layers/batch_normalization/

    Example:
        >>> BatchNormalization()(np.zeros((2, 8, 8, 3), "float32"), training=True).shape
        torch.Size([2, 8, 8, 3])
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize; with a mask, `renorm` or variables elsewhere Keras's own layer computes."""
        if mask is not None or getattr(self, "renorm", False) or in_stateless_scope():
            return super().call(inputs, training=training, mask=mask)
        x = inputs if isinstance(inputs, torch.Tensor) else keras.ops.convert_to_tensor(inputs)
        if x.dtype not in TYPES.values():  # like Keras: half precision is normalized in float32
            x = x.to(torch.promote_types(x.dtype, torch.float32))
        given = self.gamma if self.scale else None, self.beta if self.center else None
        gamma, beta, mean, var = values(*given, self.moving_mean, self.moving_variance)
        gamma, beta = _as(gamma, x), _as(beta, x)
        if training and self.trainable:
            y = ops.batch_norm_training(
                x, mean, var, gamma, beta, self.epsilon, decay=self.momentum, correction=0,
                axis=self.axis,
            )  # fmt: skip
        else:
            y = ops.batch_norm(
                x.movedim(self.axis, 1), _as(mean, x), _as(var, x), gamma, beta, False,
                eps=self.epsilon,
            )  # fmt: skip
            y = y.movedim(1, self.axis)
        same = y.dtype == TYPES.get(self.compute_dtype)
        return y if same else keras.ops.cast(y, self.compute_dtype)


def _as(value: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor | None:
    """A parameter in the data's type."""
    return value if value is None or value.dtype == x.dtype else value.to(x.dtype)


def _channels_first(inputs: Any, data_format: str) -> torch.Tensor:
    """The input as (N, C, H, W); from channels-last data a view."""
    x: torch.Tensor = keras.ops.convert_to_tensor(inputs)
    return x.permute(0, 3, 1, 2) if data_format == "channels_last" else x


def _as_given(y: torch.Tensor, data_format: str) -> torch.Tensor:
    return y.permute(0, 2, 3, 1) if data_format == "channels_last" else y
