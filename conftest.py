# SPDX-License-Identifier: Apache-2.0
"""Set-up shared by all tests and examples: two CPU devices, quiet logs, a fresh seed for each."""

import gc
import logging
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
import tensorflow as tf

# Two logical devices stand in for two GPUs in the tests of MirroredStrategy. This must come
# before TensorFlow starts its devices.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# Programs that tests start; to look for examples there would run them.
collect_ignore_glob = ["tests/*/run_*.py"]


def pytest_collection_finish():
    """Python's collector need not look at what was imported, nor after every 700 objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True)
def seed():
    """Every test draws the same numbers, whichever ran before it."""
    keras.utils.set_random_seed(0)


_LEVELS = {name: logging.getLogger(name).level for name in ("absl", "tensorflow", "tf2onnx")}


@pytest.fixture(autouse=True)
def log_levels():
    """Every test hears what is logged, whichever command ran in this process before it."""
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(autouse=True)
def surroundings_of_an_example(request, doctest_namespace):
    """Gives a docstring's example these names beside its module's own, and a folder to itself."""
    if isinstance(request.node, pytest.DoctestItem):
        doctest_namespace.update(keras=keras, np=np, tf=tf)
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
