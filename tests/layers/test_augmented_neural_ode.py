# SPDX-License-Identifier: Apache-2.0
"""An Augmented Neural ODE whose x-part stands still is a HomoODE that starts at zero."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.layers import AugmentedNeuralODE, HomoODE
from scripts.augmented.held import HeldInput

BATCH, CHANNELS = 3, 4


class Conditioned(keras.layers.Layer):
    """F(u; x) = tanh(A u + B x) - u / 2, for any sizes of u and x."""

    def __init__(self, channels, **kwargs):
        super().__init__(dtype="float64", **kwargs)
        self.of_state = keras.layers.Dense(channels, dtype="float64")
        self.of_condition = keras.layers.Dense(channels, use_bias=False, dtype="float64")

    def build(self, u_shape, x_shape):
        self.of_state.build(u_shape)
        self.of_condition.build(x_shape)

    def call(self, u, x):
        return tf.tanh(self.of_state(u) + self.of_condition(x)) - 0.5 * u


class Joined(keras.layers.Layer):
    """G([x, u]) = [anything, F(u; x)]."""

    def __init__(self, dynamics):
        super().__init__(dtype="float64")
        self.dynamics = dynamics

    def build(self, z_shape):
        self.built = True

    def call(self, z):
        x, u = z[..., :CHANNELS], z[..., CHANNELS:]
        return tf.concat([tf.sin(x), self.dynamics(u, x)], axis=-1)


def both(extra, homoode, augmented):
    """The two layers on one and the same F."""
    dynamics = Conditioned(extra)
    one = HomoODE(dynamics, initial_point="zeros", state_channels=extra, dtype="float64", **homoode)
    x = tf.constant(np.random.default_rng(0).normal(size=(BATCH, CHANNELS)))
    one.build(x.shape)
    held = HeldInput(Joined(dynamics), CHANNELS)
    return one, AugmentedNeuralODE(held, extra, dtype="float64", **augmented), x


@pytest.mark.parametrize("extra", [CHANNELS, 2], ids=["as many", "fewer"])
def test_with_its_input_held_it_is_a_homoode_from_zero(extra):
    # A step's error is a root mean square over the state's elements. The held ones have none, so
    # that the tolerances which lead to the same steps differ by the root of the share of the rest.
    share = np.sqrt((CHANNELS + extra) / extra)
    tolerances = {"rtol": 1e-3, "atol": 1e-3}
    settings = {"solver": "dopri5", "first_step_size": 0.4, "gradient": "backprop"}
    homoode, augmented, x = both(
        extra,
        {**settings, **{name: share * value for name, value in tolerances.items()}},
        {**settings, **tolerances},
    )
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        u, z = homoode(x), augmented(x)
        losses = tf.reduce_sum(u**2), tf.reduce_sum(z[..., CHANNELS:] ** 2)
    np.testing.assert_array_equal(z[..., :CHANNELS], x)
    np.testing.assert_allclose(z[..., CHANNELS:], u, rtol=1e-12, atol=1e-13)
    assert int(homoode.forward_nfe) == int(augmented.forward_nfe) > 7
    sources = [x, *homoode.dynamics.trainable_variables]
    for ours, theirs in zip(*(tape.gradient(loss, sources) for loss in losses), strict=True):
        assert np.abs(ours).max() > 1e-3
        np.testing.assert_allclose(theirs, ours, rtol=1e-10, atol=1e-12)


def test_with_its_input_moving_it_is_another():
    settings = {"solver": "dopri5", "rtol": 1e-3, "atol": 1e-3}
    homoode, augmented, x = both(CHANNELS, settings, settings)
    moving = AugmentedNeuralODE(augmented.dynamics.dynamics, CHANNELS, dtype="float64", **settings)
    assert np.abs(moving(x)[..., CHANNELS:] - homoode(x)).max() > 1e-2


def test_held_dynamics_come_back_from_their_config():
    held = HeldInput(keras.layers.Dense(6), 4)
    again = HeldInput.from_config(held.get_config())
    assert again.channels == 4 and again.dynamics.units == 6
