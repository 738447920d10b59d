# SPDX-License-Identifier: Apache-2.0
"""Second derivatives and forward mode through every layer: right, or an error that says so."""

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import solvers
from homoode_tf.layers import DEQ, AugmentedNeuralODE, FunctionDynamics, HomoODE, NeuralODE
from homoode_tf.solvers import fixed_point

X = tf.constant([[0.3], [0.8]], tf.float64)
GRADIENTS = [*solvers.GRADIENTS]


def decay(z, *_):
    """z' = -z^2, so z(1) = z0 / (1 + z0)."""
    return -tf.square(z)


def make(kind, gradient):
    dynamics = FunctionDynamics(decay, dtype="float64")
    settings = {"gradient": gradient, "dtype": "float64"}
    if kind is DEQ:
        dynamics = FunctionDynamics(lambda z, x: 0.5 * tf.cos(z) + x**3, dtype="float64")
        return DEQ(dynamics, **settings)
    settings |= {"solver": "rk4", "num_steps": 20}
    if kind is AugmentedNeuralODE:
        return AugmentedNeuralODE(dynamics, 0, **settings)
    if kind is HomoODE:
        dynamics = FunctionDynamics(lambda z, x: decay(z) + 0.0 * x, dtype="float64")
        return HomoODE(dynamics, initial_point="input", **settings)
    return NeuralODE(FunctionDynamics(lambda z: decay(z), dtype="float64"), **settings)


CASES = [(k, g) for k in (NeuralODE, AugmentedNeuralODE, HomoODE) for g in GRADIENTS]
CASES += [(DEQ, g) for g in fixed_point.MODES]
NAMES = [f"{kind.__name__}-{gradient}" for kind, gradient in CASES]


@pytest.mark.parametrize(("kind", "gradient"), CASES, ids=NAMES)
def test_second_derivatives(kind, gradient):
    layer = make(kind, gradient)
    layer.build((2, 1))

    def second():
        with tf.GradientTape() as outer:
            outer.watch(X)
            with tf.GradientTape() as inner:
                inner.watch(X)
                end = tf.reduce_sum(layer(X))
            first = inner.gradient(end, X)
        return outer.gradient(first, X)

    if gradient == "backprop":
        np.testing.assert_allclose(second(), -2.0 / (1.0 + X) ** 3, rtol=1e-5)
    else:
        with pytest.raises(NotImplementedError, match=f"{gradient}' has no second derivatives"):
            second()


@pytest.mark.parametrize(("kind", "gradient"), CASES, ids=NAMES)
def test_forward_mode(kind, gradient):
    layer = make(kind, gradient)
    layer.build((2, 1))

    def directional():
        with tf.autodiff.ForwardAccumulator(X, tf.ones_like(X)) as accumulator:
            end = layer(X)
        return accumulator.jvp(end)

    if gradient == "backprop":
        np.testing.assert_allclose(directional(), 1.0 / (1.0 + X) ** 2, rtol=1e-5)
    else:
        advice = "first derivatives only" if kind is DEQ else "gradient='backprop'"
        with pytest.raises(NotImplementedError, match=advice):
            directional()
