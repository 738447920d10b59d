# SPDX-License-Identifier: Apache-2.0
"""Dynamics that draw random numbers, keep a state, or depend on time, in every mode."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.layers import DEQ, AugmentedNeuralODE, FunctionDynamics, HomoODE, NeuralODE

GRADIENTS = ("adjoint", "checkpoint", "backprop")


def random(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), "float32")


class Dropped(keras.layers.Layer):
    """A Keras dropout inside; smooth otherwise."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(4, activation="tanh")
        self.dropout = keras.layers.Dropout(0.5, seed=3)

    def build(self, z_shape, x_shape=None):
        self.dense.build(z_shape)
        self.dropout.build(z_shape)

    def call(self, z, x=None, training=False):
        y = self.dropout(self.dense(z), training=training)
        return y - z if x is None else 0.5 * y + x - z


class Forced(keras.layers.Layer):
    """z' = -6 t z |z|."""

    def call(self, t, z, x=None):
        return -6.0 * t * z * tf.abs(z)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("step_control", ["batch", "sample"])
@pytest.mark.parametrize("layer", [HomoODE, NeuralODE])
def test_a_keras_dropout_is_held_through_a_solve_and_its_backward_pass(
    layer, step_control, gradient
):
    layer = layer(Dropped(), rtol=1e-5, atol=1e-5, step_control=step_control, gradient=gradient)
    layer.build((3, 4))
    seed = layer.dynamics.dropout.seed_generator.state
    start = seed.numpy()
    x, direction = random(3, 4), random(3, 4, seed=1)

    def loss(x):
        seed.assign(start)
        return tf.reduce_sum(layer(x, training=True) ** 2)

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    evaluations = int(layer.forward_nfe)
    found = float(tf.reduce_sum(direction * tape.gradient(value, x)))
    expected = float(loss(x + 1e-2 * direction) - loss(x - 1e-2 * direction)) / 2e-2
    assert found == pytest.approx(expected, rel=1e-2, abs=1e-3)
    assert evaluations < 80  # a field that changes under way is rejected again and again
    np.testing.assert_array_equal(seed - start, [0, 1])  # one draw a pass


def test_a_keras_dropout_in_a_fixed_point():
    layer = DEQ(Dropped(), rtol=1e-6, atol=1e-6)
    layer(random(3, 4), training=True)
    assert float(layer.residual) < 1e-5


@pytest.mark.parametrize("layer", [HomoODE, NeuralODE, DEQ])
def test_a_state_that_every_evaluation_changes_is_refused_by_name(layer):
    dynamics = Dropped()
    dynamics.dense = keras.layers.BatchNormalization(name="the_norm")
    layer = layer(dynamics)
    assert layer(random(3, 4)).shape == (3, 4)
    with pytest.raises(ValueError, match="'the_norm' changes its variable.*LayerNormalization"):
        layer(random(3, 4), training=True)


@pytest.mark.parametrize("step_control", ["batch", "sample"])
@pytest.mark.parametrize("shape", [(3, 4), (4, 4), (1, 4), (4, 2, 3, 4)])
def test_time_multiplies_the_state_under_both_step_controls(step_control, shape):
    """z' = -6 t z |z| has z(1) = z0 / (1 + 3 |z0|)."""
    x = random(*shape)
    layer = NeuralODE(Forced(), rtol=1e-5, atol=1e-5, step_control=step_control)
    np.testing.assert_allclose(layer(x), x / (1.0 + 3.0 * tf.abs(x)), atol=1e-4)


def test_names_in_another_order_are_refused():
    class TimeLast(keras.layers.Layer):
        def call(self, z, t):
            return t * z

    class ConditionFirst(keras.layers.Layer):
        def call(self, x, z):
            return x - z

    for layer in (NeuralODE, HomoODE):
        with pytest.raises(ValueError, match=r"in this order, but TimeLast.call takes \(z, t\)"):
            layer(TimeLast())
    for layer in (HomoODE, DEQ):
        with pytest.raises(ValueError, match=r"but ConditionFirst.call takes \(x, z\)"):
            layer(ConditionFirst())
    AugmentedNeuralODE(Forced(), 2)


class Traced(keras.layers.Layer):
    """Its call, or a part of it, is compiled by itself."""

    def build(self, z_shape, x_shape=None):
        self.rate = self.add_weight(shape=(), initializer="ones", name="rate")

    @tf.function
    def call(self, z, x=None):
        return self.rate * z


class TracedInside(Traced):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.product = tf.function(lambda z: self.rate * z)

    def call(self, z, x=None):
        return self.product(z)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("traced_before", [False, True])
@pytest.mark.parametrize("dynamics", [Traced, TracedInside])
def test_a_function_that_would_keep_the_weights_is_refused(dynamics, traced_before, gradient):
    """Once traced it has the values of its first call, and no gradient by those held."""
    dynamics = dynamics()
    if traced_before:
        dynamics.build((None, 3))
        dynamics(tf.ones([4, 3]))
    with pytest.raises(ValueError, match="'rate' within a tf.function|rate.* within a tf.function"):
        NeuralODE(dynamics, gradient=gradient)(tf.ones([4, 3]))


def test_a_function_of_its_arguments_alone_is_none_of_them():
    product = tf.function(lambda rate, z: rate * z)

    class Fine(Traced):
        def call(self, z, x=None):
            return product(tf.convert_to_tensor(self.rate), z)

    layer = NeuralODE(Fine(), rtol=1e-6, atol=1e-6)
    for rate in (1.0, 2.0):
        z = tf.ones([4, 3])
        layer(z[:1])
        layer.dynamics.rate.assign(rate)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(z))
        np.testing.assert_allclose(loss, 12 * np.exp(rate), rtol=1e-5)
        np.testing.assert_allclose(
            tape.gradient(loss, layer.dynamics.rate.value), 12 * np.exp(rate), rtol=1e-4
        )


def _dropout_in_a_closure():
    dropout = keras.layers.Dropout(0.5, seed=1)
    return FunctionDynamics(lambda z, training=False: dropout(z, training=training))


def _generator_in_a_closure():
    generator = keras.random.SeedGenerator(1)
    return FunctionDynamics(lambda z: keras.random.normal((4,), seed=generator) * z)


def _batch_norm_in_a_closure():
    norm = keras.layers.BatchNormalization()
    norm.build((None, 4))
    return FunctionDynamics(
        lambda z, training=False: norm(z, training=training), [norm.gamma, norm.beta]
    )


class Holder:
    """No Keras layer: what it holds is not tracked."""

    def __init__(self):
        self.dropout = keras.layers.Dropout(0.5, seed=1)


class Unseen(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.holder = Holder()

    def call(self, z, training=False):
        return self.holder.dropout(z, training=training)


@pytest.mark.parametrize(
    "make", [_dropout_in_a_closure, _generator_in_a_closure, _batch_norm_in_a_closure, Unseen]
)
@pytest.mark.parametrize("traced", [False, True])
def test_a_state_that_is_not_the_dynamics_own_is_refused(make, traced):
    """It would be the same in every call, for ever."""
    layer = NeuralODE(make())
    call = tf.function(layer) if traced else layer
    with pytest.raises(ValueError, match="none of its own"):
        call(tf.ones([2, 4]), training=True)


class AddsLoss(keras.layers.Layer):
    def call(self, z):
        self.add_loss(tf.reduce_sum(z))
        return z


@pytest.mark.parametrize(
    "dynamics", [AddsLoss, lambda: keras.layers.Dense(4, activity_regularizer="l2")]
)
def test_a_loss_of_every_evaluation_is_refused(dynamics):
    with pytest.raises(ValueError, match="adds a loss"):
        NeuralODE(dynamics())(tf.ones([2, 4]), training=True)


def test_a_regulariser_of_weights_counts_as_ever():
    layer = NeuralODE(keras.layers.Dense(4, kernel_regularizer="l2"))
    layer(tf.ones([2, 4]), training=True)
    np.testing.assert_allclose(
        layer.losses[0], 0.01 * np.sum(layer.dynamics.kernel.numpy() ** 2), rtol=1e-6
    )


def test_an_implicit_layer_within_anothers_dynamics_is_refused_as_such():
    class Nested(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = NeuralODE(keras.layers.Dense(4), name="inner")

        def build(self, z_shape):
            self.inner.build(z_shape)

        def call(self, z):
            return self.inner(z)

    with pytest.raises(ValueError, match="'inner', an implicit layer, cannot be part"):
        NeuralODE(Nested())(tf.ones([2, 4]))
