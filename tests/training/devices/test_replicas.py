# SPDX-License-Identifier: Apache-2.0
"""The real model on several replicas learns what it learns on one."""

import keras
import numpy as np
import pytest

from configs import digits
from homoode_tf import data, models
from homoode_tf.training.inputs import Inputs
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.state import TrainState
from homoode_tf.training.step import make_train_step

STEPS = 20


def small_config(**changes):
    """A small HomoODE in which nothing depends on how a batch is divided."""
    config = digits.get_config()
    config.batch_size = 64
    config.epochs = 1.0
    config.augmentation.crop_padding = 0
    config.model.update({"channels": 8, "head_channels": 12, "groups": 4, "dropout_rate": 0.0})
    # Where steps are controlled, rounding decides whether a sample takes one more, and the answers
    # differ by a part of the tolerance.
    config.model.update({"solver": "rk4", "num_steps": 2, "synchronized_batch_norm": True})
    config.initial_point.period = 3
    # Adam would divide by the size of gradients that are zero but for rounding: a convolution's
    # bias before batch norm has such ones.
    config.optimizer.update({"name": "sgd", "learning_rate": 0.02})
    config.model.update(changes)
    return config


def train(strategy, config):
    """Weights, moments, and each replica's step size after some steps."""
    keras.utils.set_random_seed(0)
    settings = TrainingSettings.from_config(config)
    images = data.load("digits", validation_fraction=0.1)
    info = images.info
    with strategy.scope():
        model = models.build(config.model, info.image_shape, info.num_classes, info.mean, info.std)
    state = TrainState(model, settings, STEPS, strategy)
    inputs = Inputs(images, settings, strategy)
    batches = inputs.train(0, STEPS)
    step = make_train_step(state, settings)
    for _ in range(STEPS):
        step(batches)
    kept = model.implicit.step_size
    step_sizes = [] if kept is None else strategy.experimental_local_results(kept.value)
    state.synchronise()
    return [v.numpy() for v in model.variables if "nfe" not in v.name], [
        float(value) for value in step_sizes
    ]


@pytest.mark.slow
def test_two_replicas_of_32_equal_one_of_64(one_replica, two_replicas):
    one, _ = train(one_replica, small_config())
    two, _ = train(two_replicas, small_config())
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=1e-5)


@pytest.mark.slow
def test_replicas_begin_their_solves_alike(one_replica, two_replicas):
    """By the smallest first step of all, which is that of one replica but for its rounding."""
    controlled = {"solver": "heun_euler", "step_control": "sample"}
    one, (step_size,) = train(one_replica, small_config(**controlled))
    two, step_sizes = train(two_replicas, small_config(**controlled))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=1e-2)
    assert step_sizes == pytest.approx([step_size] * 2, rel=1e-2)
    assert step_sizes[0] == step_sizes[1]
