# SPDX-License-Identifier: Apache-2.0
"""States of another size than the condition's."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.layers import DEQ, DenseDynamics, HomoODE

POINTS = ("learned", "running_mean", "zeros", "alternating")
MODES = [(g, s) for g in ("checkpoint", "backprop", "adjoint") for s in ("batch", "sample")]


def make(kind, point="alternating", **kwargs):
    small = keras.initializers.Orthogonal(0.3, seed=1)
    dynamics = DenseDynamics(5, kernel_initializer=small, dtype="float64")
    return kind(dynamics, initial_point=point, state_channels=5, dtype="float64", **kwargs)


@pytest.mark.parametrize("kind", [HomoODE, DEQ])
@pytest.mark.parametrize("point", POINTS)
def test_a_layer_gives_the_states_size(kind, point, tmp_path):
    model = keras.Sequential([keras.Input((3,), dtype="float64"), make(kind, point)])
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert model.output_shape == (None, 5) and model(x).shape == (4, 5)
    model(x, training=True)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(x), model(x), rtol=1e-12)


@pytest.mark.parametrize(("gradient", "step_control"), MODES)
def test_the_condition_s_gradient_is_that_of_finite_differences(gradient, step_control):
    settings = {"rtol": 1e-9, "atol": 1e-9, "gradient": gradient, "step_control": step_control}
    layer = make(HomoODE, **settings)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3)))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x) ** 2)
    found = tape.gradient(loss, x)
    for index in ((0, 1), (1, 2)):
        step = np.zeros((2, 3))
        step[index] = 1e-5
        ends = [float(tf.reduce_sum(layer(x + sign * step) ** 2)) for sign in (1, -1)]
        np.testing.assert_allclose(found[index], (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


def test_a_start_of_one_s_own_sees_x():
    start = keras.layers.Dense(5, dtype="float64")
    layer = make(HomoODE, start)
    layer(tf.ones([2, 3], tf.float64))
    assert start.kernel.shape == (3, 5)


def test_what_has_no_meaning_is_refused():
    with pytest.raises(ValueError, match="no meaning with initial_point='input'"):
        make(HomoODE, "input")
    with pytest.raises(ValueError, match="state_channels must be an integer at least 1"):
        HomoODE(DenseDynamics(5), state_channels=0)
