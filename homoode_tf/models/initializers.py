# SPDX-License-Identifier: Apache-2.0
"""What the parts of the reference model start from, and its batch norm's constant."""

import keras

BATCH_NORM_EPSILON = 1e-5
# U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what the reference model's convolutions start from.
_KERNEL_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
}


def kernel_initializer() -> keras.initializers.Initializer:
    """Returns a fresh kernel initializer; a shared one would give equal shapes equal values."""
    return keras.initializers.get(_KERNEL_INITIALIZER)
