# SPDX-License-Identifier: Apache-2.0
"""A convolution without its bias, which a norm after it adds for nothing."""

from typing import Any

import keras


def convolve(layer: keras.layers.Layer, x: Any) -> Any:
    """What a layer, channels last, computes from x but for bias and activation."""
    return keras.ops.conv(
        x, layer.kernel, strides=layer.strides, padding=layer.padding, data_format="channels_last"
    )
