# SPDX-License-Identifier: Apache-2.0
"""One contractive convolutional map, and its equilibria by every way that the library has."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import homotopy, solvers
from homoode_tf.layers import DEQ
from homoode_tf.solvers import fixed_point

BATCH, SIZE, CHANNELS = 3, 5, 4
ATOL = 1e-6


@keras.saving.register_keras_serializable(package="homoode_tf_tests")
class ContractiveDynamics(keras.layers.Layer):
    """g(z; x) = tanh(conv(z) + x), a contraction by 0.8 or more."""

    def build(self, z_shape, x_shape):
        kernel = np.random.default_rng(0).normal(size=(3, 3, CHANNELS, CHANNELS))
        # A convolution's norm is at most the sum of the spectral norms of its nine matrices.
        kernel *= 0.8 / np.linalg.norm(kernel, 2, axis=(2, 3)).sum()
        self.kernel = self.add_weight(
            shape=kernel.shape, initializer=keras.initializers.Constant(kernel)
        )

    def call(self, z, x):
        return tf.tanh(tf.nn.conv2d(z, self.kernel, 1, "SAME") + x)

    def compute_output_shape(self, z_shape, x_shape):
        return z_shape


@pytest.fixture(scope="module")
def condition():
    shape = (BATCH, SIZE, SIZE, CHANNELS)
    return tf.constant(np.random.default_rng(1).normal(size=shape))


@pytest.fixture(scope="module")
def dynamics(condition):
    layer = ContractiveDynamics(dtype="float64")
    layer(tf.zeros_like(condition), condition)
    return layer


@pytest.fixture(scope="module")
def equilibria(dynamics, condition):
    """By plain iteration, whose error is at most 0.8^150 of where it starts, or rounding."""
    z = tf.zeros_like(condition)
    for _ in range(150):
        z = dynamics(z, condition)
    return z.numpy()


@pytest.mark.parametrize("solver", fixed_point.names())
def test_deq(solver, dynamics, condition, equilibria):
    layer = DEQ(dynamics, solver, 1e-9, 1e-9, max_num_iterations=300, dtype="float64")
    np.testing.assert_allclose(layer(condition), equilibria, rtol=0.0, atol=ATOL)


@pytest.mark.parametrize("name", ["newton", "fixed_point"])
def test_homotopy(name, dynamics, condition, equilibria):
    path = homotopy.trace(
        lambda z: z - dynamics(z, condition), tf.zeros_like(condition), homotopy=name
    )
    np.testing.assert_allclose(path.state, equilibria, rtol=0.0, atol=ATOL)


def test_flow(dynamics, condition, equilibria):
    """z' = g(z; x) - z: the distance to the equilibrium falls at least like exp(-0.2 t)."""
    results = solvers.get("dopri5", rtol=1e-9, atol=1e-9).solve(
        lambda t, z: dynamics(z, condition) - z, 0.0, tf.zeros_like(condition), [100.0]
    )
    np.testing.assert_allclose(results.states[-1], equilibria, rtol=0.0, atol=ATOL)
