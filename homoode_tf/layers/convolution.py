# SPDX-License-Identifier: Apache-2.0
"""A convolution without its bias, which a norm after it adds for nothing."""

from typing import Any

import keras


def convolve(layer: keras.layers.Layer, x: Any, kernel: Any = None) -> Any:
    """What a layer, channels last, computes from x but for bias and activation.

    Args:
        layer: The layer, built.
        x: Its input.
        kernel: Used in place of the layer's own, in x's dtype.
    """
    kernel = layer.kernel if kernel is None else keras.ops.cast(kernel, x.dtype)
    return keras.ops.conv(
        x, kernel, strides=layer.strides, padding=layer.padding, data_format="channels_last"
    )
