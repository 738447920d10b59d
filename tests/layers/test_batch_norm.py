# SPDX-License-Identifier: Apache-2.0
"""A convolution with its batch norm and ReLU, against Keras's layers one after the other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.layers import BatchNormalization

SHAPE = (4, 8, 6, 5)


@pytest.fixture
def parts():
    """A convolution, our norm and Keras's, with the same random variables."""
    rng = np.random.default_rng(0)
    convolution = keras.layers.Conv2D(7, 3, 2, data_format="channels_last", dtype="float64")
    convolution.build(SHAPE)
    norms = [
        kind(epsilon=1e-3, dtype="float64")
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    ]
    for norm in norms:
        norm.build((None, None, None, 7))
    values = [rng.uniform(0.5, 2.0, v.shape) for v in norms[0].variables]
    for norm in norms:
        norm.set_weights(values)
    convolution.bias.assign(rng.normal(size=7))
    return convolution, *norms


@pytest.mark.parametrize("training", [False, True])
def test_value_gradients_and_running_moments_are_those_of_the_parts(parts, training):
    convolution, ours, keras_norm = parts
    rng = np.random.default_rng(1)
    x, weight = (tf.constant(rng.normal(size=SHAPE)) for _ in range(2))
    outcomes = []
    for norm, compute in (
        (ours, lambda: ours.after(convolution, x, training)),
        (keras_norm, lambda: keras.ops.relu(keras_norm(convolution(x), training=training))),
    ):
        sources = [x, *(v.value for v in (*convolution.variables, norm.gamma, norm.beta))]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = compute()
            loss = tf.reduce_sum(y * weight[:, :3, :2, :1])
        outcomes.append([y, *tape.gradient(loss, sources), norm.moving_mean, norm.moving_variance])
    for mine, theirs in zip(*outcomes, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


def test_a_norm_at_rest_is_rounded_to_half_precision_once():
    # Kernel and scale are multiplied in float32 whatever the layers around compute in.
    convolution = keras.layers.Conv2D(3, 1, data_format="channels_last", dtype="mixed_bfloat16")
    norm = BatchNormalization(dtype="mixed_bfloat16")
    x = tf.ones([1, 2, 2, 1], tf.bfloat16)
    convolution.build(x.shape)
    norm.build((1, 2, 2, 3))
    convolution.kernel.assign(np.full((1, 1, 1, 3), 1.004))
    norm.gamma.assign([1.004, 1.0, 1.0])
    norm.epsilon = 0.0

    class Around(keras.layers.Layer):
        def call(self, x):
            return norm.after(convolution, x, training=False)

    y = Around(dtype="mixed_bfloat16")(x)
    assert y.dtype == tf.bfloat16
    np.testing.assert_array_equal(y[0, 0, 0], tf.cast([1.004**2, 1.004, 1.004], tf.bfloat16))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(value, policy, training):
    """In a graph, too, where TensorFlow's own fused ReLU makes zeros of NaN."""
    convolution = keras.layers.Conv2D(16, 3, data_format="channels_last", dtype=policy)
    norm = BatchNormalization(dtype=policy)
    x = tf.fill([2, 34, 34, 3], value)  # enough for a fused piece
    convolution.build(x.shape)
    norm.build((2, 32, 32, 16))

    class Around(keras.layers.Layer):
        def call(self, x):
            return norm.after(convolution, x, training)

    layer = Around(dtype=policy)
    for y in (tf.function(layer)(x), layer(x)):
        assert not np.isfinite(tf.cast(y, tf.float32)).any()


def test_the_derivative_at_zero_is_that_of_a_relu():
    convolution = keras.layers.Conv2D(3, 1, data_format="channels_last")
    norm, x = BatchNormalization(), tf.Variable(tf.zeros([1, 2, 2, 1]))
    convolution.build(x.shape)
    norm.build((1, 2, 2, 3))
    with tf.GradientTape() as tape:
        y = norm.after(convolution, x, training=False)
    np.testing.assert_array_equal(tape.gradient(y, x), tf.zeros_like(x))
