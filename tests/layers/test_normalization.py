# SPDX-License-Identifier: Apache-2.0
"""Norms, and sums of stages, in few passes: against plain code, Keras and finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import solvers
from homoode_tf.layers import ConvDynamics, GroupNormalization, HomoODE
from homoode_tf.solvers import fusion
from homoode_tf.solvers.ode.flat import weighted_sum
from tests import slow

SHAPE = (3, 4, 6, 8)


@pytest.fixture
def compiled(monkeypatch):
    """Lets every size of tensor be worth a compiled piece, in graphs."""
    monkeypatch.setattr(fusion, "_SMALLEST_SIZE", 1)


def normal(*shape, seed=0, dtype="float64"):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def made(layer):
    """A layer whose variables are at random values."""
    random = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        variable.assign(variable + 0.1 * random.normal(size=variable.shape))
    return layer


class TestConvDynamics:
    @pytest.fixture(scope="class", params=["relu", slow("gelu")])
    def dynamics(self, request):
        layer = ConvDynamics(8, groups=4, dtype="float64", activation=request.param)
        layer.build(SHAPE, SHAPE)
        return made(layer)

    @staticmethod
    def derivatives(dynamics, z, x):
        variables = [v.value for v in dynamics.trainable_variables]
        sources = [z, x, *variables]
        with tf.GradientTape() as outer:
            outer.watch([z, x])
            with tf.GradientTape() as inner:
                inner.watch([z, x])
                value = dynamics(z, x)
            first = inner.gradient(value, sources, normal(*SHAPE, seed=3))
            loss = tf.add_n([tf.reduce_sum(g**2) for g in first])
        return value, first, outer.gradient(loss, sources, unconnected_gradients="zero")

    def test_compiled_pieces_are_plain_code(self, dynamics, compiled):
        """Values, first and second derivatives."""
        arguments = dynamics, normal(*SHAPE), normal(*SHAPE, seed=2)
        plain = self.derivatives(*arguments)
        fast = tf.function(lambda: self.derivatives(*arguments))()
        for found, expected in zip(tf.nest.flatten(fast), tf.nest.flatten(plain), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)

    def test_is_what_its_parts_are(self, dynamics):
        z, x = normal(*SHAPE), normal(*SHAPE, seed=2)
        norm = [keras.layers.GroupNormalization(4, epsilon=1e-5, dtype="float64") for _ in range(2)]
        for theirs, ours in zip(norm, (dynamics.norm1, dynamics.norm2), strict=True):
            theirs.build(SHAPE)
            theirs.set_weights(ours.get_weights())
        y = dynamics.activation(norm[0](dynamics.conv1(z))) + x
        np.testing.assert_allclose(dynamics(z, x), norm[1](dynamics.conv2(y)), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gradient", "step_control", "times"),
    [
        ("checkpoint", "batch", 2),
        ("checkpoint", "sample", 1),
        ("adjoint", "batch", 1),
        ("backprop", "batch", 1),
    ],
)
def test_a_solve_of_compiled_pieces(gradient, step_control, times, monkeypatch):
    """Also twice by the same dynamics, against the same without any piece."""
    x = normal(2, 4, 4, 4)
    results = []
    for size in (2**17, 1):
        monkeypatch.setattr(fusion, "_SMALLEST_SIZE", size)
        dynamics = ConvDynamics(4, groups=2, seed=1, dtype="float64")
        layer = HomoODE(
            dynamics, "heun_euler", gradient=gradient, step_control=step_control, dtype="float64"
        )
        keras.utils.set_random_seed(0)
        layer.build(x.shape)
        made(layer)

        @tf.function
        def differentiate(layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = x
                for _ in range(times):
                    value = layer(value, training=True)
            variables = [v.value for v in layer.dynamics.trainable_variables]
            return [value, *tape.gradient(value, [x, *variables])]

        results.append(differentiate())
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("tableau", ["heun", slow("bosh3")])
def test_second_derivatives_of_compiled_steps(tableau, monkeypatch):
    """By the state, the weights and the time, of backprop, against plain operations."""
    y, rate, end = normal(*SHAPE), tf.constant(0.7, tf.float64), tf.constant(0.5, tf.float64)

    def derivatives():
        sources = [y, rate, end]
        with tf.GradientTape() as outer:
            outer.watch(sources)
            with tf.GradientTape() as inner:
                inner.watch(sources)
                solver = solvers.get(tableau, num_steps=2, gradient="backprop")
                constants = {"rate": rate}
                solution = solver.solve(
                    lambda t, z, rate: tf.sin(rate * z) + t, 0.0, y, [end], constants=constants
                )
            first = inner.gradient(solution.states, sources, normal(1, *SHAPE, seed=3))
            loss = tf.add_n([tf.reduce_sum(g**2) for g in first])
        return [*first, *outer.gradient(loss, sources)]

    results = []
    for size in (2**17, 1):
        monkeypatch.setattr(fusion, "_SMALLEST_SIZE", size)
        results.append(tf.function(derivatives)())
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("path", ["plain", "compiled"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_no_digits_are_lost_where_the_mean_is_large(dtype, path, monkeypatch):
    """Never more than ten times Keras's error, of values and gradients."""
    monkeypatch.setattr(fusion, "_SMALLEST_SIZE", 1 if path == "compiled" else 2**17)
    cotangent = normal(*SHAPE, seed=3)

    def traced(layer):
        layer.build(SHAPE)

        @tf.function
        def run(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = layer(x)
            return value, tape.gradient(value, x, tf.cast(cotangent, value.dtype))

        return lambda x: [tf.cast(v, tf.float64).numpy() for v in run(x)]

    policy = "mixed_bfloat16" if dtype == "bfloat16" else dtype
    ours = traced(GroupNormalization(2, dtype=policy))
    keras_s = traced(keras.layers.GroupNormalization(2, epsilon=1e-5, dtype=policy))
    resolution = {"float32": 6e-8, "bfloat16": 4e-3, "float64": 1e-16}[dtype]
    for ratio in (1.0, 100.0, 1e3, 1e4):
        x = tf.cast(normal(*SHAPE) + ratio, dtype)
        # In extended precision, from the values as they were rounded.
        exact = _exact(tf.cast(x, tf.float64).numpy(), cotangent.numpy(), groups=2)
        for mine, theirs, right in zip(ours(x), keras_s(x), exact, strict=True):
            size = np.abs(right).max()
            allowed = 10.0 * max(np.abs(theirs - right).max(), resolution * size)
            assert np.abs(mine - right).max() <= allowed, ratio


def _exact(x, cotangent, groups):
    batch, height, width, channels = x.shape
    split = (batch, height, width, groups, channels // groups)
    x, c = x.reshape(split).astype(np.longdouble), cotangent.reshape(split)
    axes = (1, 2, 4)
    centred = x - x.mean(axes, keepdims=True)
    inverse = 1.0 / np.sqrt((centred**2).mean(axes, keepdims=True) + np.longdouble(1e-5))
    value = centred * inverse
    slope = c - c.mean(axes, keepdims=True) - value * (c * value).mean(axes, keepdims=True)
    return [
        v.astype(float).reshape(batch, height, width, channels) for v in (value, inverse * slope)
    ]


@pytest.mark.parametrize("by_sample", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_weighted_sum(dtype, by_sample, compiled):
    """The compiled sum and its gradient are those of plain operations."""
    base = normal(*SHAPE)
    terms = [tf.cast(normal(*SHAPE, seed=i), dtype) for i in (1, 2)]
    weights = [tf.abs(normal(*([3] if by_sample else []), seed=i)) for i in (4, 5)]

    def derivatives():
        with tf.GradientTape() as tape:
            tape.watch([base, *weights, *terms])
            total = weighted_sum(base, weights, terms)
        return [total, *tape.gradient(total, [base, *weights, *terms], normal(*SHAPE, seed=7))]

    for found, expected in zip(tf.function(derivatives)(), derivatives(), strict=True):
        assert found.dtype == expected.dtype
        tolerance = 1e-12 if dtype == "float64" else 1e-2
        np.testing.assert_allclose(
            tf.cast(found, "float64"), tf.cast(expected, "float64"), rtol=tolerance, atol=1e-12
        )
