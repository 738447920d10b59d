# SPDX-License-Identifier: Apache-2.0
"""Set-up shared by all tests: two CPU devices, quiet logs, a fresh seed for each test."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest
import tensorflow as tf

# Two logical devices stand in for two GPUs in the tests of MirroredStrategy. This must come
# before TensorFlow starts its devices.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)
