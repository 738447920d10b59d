# SPDX-License-Identifier: Apache-2.0
"""Gradients of fixed points against finite differences and closed forms."""

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.solvers import fixed_point
from homoode_tf.solvers.tracing import TransformationError

TIGHT = {"rtol": 1e-12, "atol": 1e-13, "max_num_iterations": 300}


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", fixed_point.names())
def test_implicit_gradients_agree_with_finite_differences(name, graph):
    solver = fixed_point.get(name, **TIGHT)
    weights, inputs = tf.Variable(0.3 * random(4, 4)), tf.Variable(random(3, 4, seed=1))
    target = random(3, 4, seed=2)

    def loss():
        fn = lambda z: tf.tanh(z @ weights + inputs)  # noqa: E731
        state = solver.solve(fn, tf.zeros([3, 4], tf.float64)).state
        state = fixed_point.differentiate(fn, state, adjoint_solver=solver)
        return tf.reduce_sum((state - target) ** 2)

    def gradients():
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, [weights, inputs])

    loss_in_graph = tf.function(loss)
    found = (tf.function(gradients) if graph else gradients)()
    for variable, gradient in zip((weights, inputs), found, strict=True):
        start = variable.numpy().copy()
        expected = np.zeros(start.shape)
        for index in np.ndindex(start.shape):
            step = np.zeros(start.shape)
            step[index] = 1e-5
            variable.assign(start + step)
            above = loss_in_graph()
            variable.assign(start - step)
            expected[index] = (above - loss_in_graph()) / 2e-5
        variable.assign(start)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8)


def scalar_gradient(mode, a, **options):
    """Of z* = a z* + b by b, whose exact value is 1 / (1 - a)."""
    solver = fixed_point.get("anderson", **TIGHT)
    evaluations = []
    b = tf.constant([[1.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(b)
        fn = lambda z: a * z + b  # noqa: E731
        state = solver.solve(fn, tf.zeros_like(b)).state
        state = fixed_point.differentiate(
            fn, state, mode, adjoint_solver=solver, on_backward=evaluations.append, **options
        )
    np.testing.assert_allclose(state, [[1.0 / (1.0 - a)]], rtol=1e-9)
    return float(tape.gradient(state, b)[0, 0]), int(evaluations[0])


def test_modes_are_what_they_claim():
    a, steps, damping = 0.6, 4, 0.5
    rate = 1.0 - damping + damping * a
    implicit, _ = scalar_gradient("implicit", a)
    assert implicit == pytest.approx(1.0 / (1.0 - a))
    assert scalar_gradient("jacobian_free", a) == (pytest.approx(1.0), 1)
    options = {"num_phantom_steps": steps, "phantom_damping": damping}
    expected = (1.0 - rate**steps) / (1.0 - a)
    assert scalar_gradient("phantom", a, **options) == (pytest.approx(expected), steps)


def test_the_adjoint_does_not_depend_on_the_scale_of_the_loss():
    solver = fixed_point.get("anderson", rtol=1e-4, atol=1e-4)
    x = tf.constant(random(2, 3))

    def gradient(scale):
        with tf.GradientTape() as tape:
            tape.watch(x)
            fn = lambda z: tf.sin(0.9 * z + x)  # noqa: E731
            state = solver.solve(fn, tf.zeros_like(x)).state
            state = fixed_point.differentiate(fn, state, adjoint_solver=solver)
            loss = scale * tf.reduce_sum(state)
        return tape.gradient(loss, x) / scale

    np.testing.assert_allclose(gradient(1e-8), gradient(1.0), rtol=1e-9)


@pytest.mark.parametrize("mode", fixed_point.MODES)
def test_second_derivatives_are_refused(mode):
    """Also of a loss that is linear, whose cotangent depends on nothing."""
    solver = fixed_point.get("damped")
    x = tf.ones([1, 1])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            fn = lambda z: 0.5 * tf.sin(z + x)  # noqa: E731
            state = solver.solve(fn, tf.zeros_like(x)).state
            state = fixed_point.differentiate(fn, state, mode, adjoint_solver=solver)
        first = inner.gradient(state, x)
    with pytest.raises(NotImplementedError, match="derivatives; a fixed point has first"):
        outer.gradient(first, x)


class TestJacobianPenalty:
    def test_a_multiple_of_the_identity(self):
        z = tf.zeros([4000, 3], tf.float64)
        penalty = fixed_point.jacobian_penalty(lambda z: 0.7 * z, z, seed=0)
        assert float(penalty) == pytest.approx(0.49, rel=0.05)

    def test_is_the_frobenius_norm_and_has_its_gradient(self):
        weights = tf.Variable(random(3, 3))
        z = tf.zeros([20000, 3], tf.float64)
        with tf.GradientTape() as tape:
            penalty = fixed_point.jacobian_penalty(lambda z: z @ weights, z, seed=0)
        assert float(penalty) == pytest.approx(np.sum(weights.numpy() ** 2) / 3.0, rel=0.05)
        expected = 2.0 * weights.numpy() / 3.0
        np.testing.assert_allclose(tape.gradient(penalty, weights), expected, atol=0.1)


def test_errors():
    fn, z = (lambda z: 0.5 * z), tf.zeros([1, 1])
    with pytest.raises(ValueError, match="gradient must be one of implicit, phantom"):
        fixed_point.differentiate(fn, z, "exact")
    with pytest.raises(ValueError, match="needs an adjoint_solver"):
        fixed_point.differentiate(fn, z)
    with pytest.raises(ValueError, match="num_phantom_steps must be an integer at least 1"):
        fixed_point.differentiate(fn, z, "phantom", num_phantom_steps=0)


def test_a_mate_s_loss_changes_no_gradient():
    """Cotangents of size 1, 1e-4 and 1e-8 side by side, and a mate's a thousand times larger."""
    x = tf.constant(np.random.RandomState(0).randn(3, 4), tf.float32)
    solver = fixed_point.get("anderson", rtol=1e-6, atol=1e-6)

    def gradient(scales):
        with tf.GradientTape() as tape:
            tape.watch(x)
            fn = lambda z: tf.tanh(0.5 * z + x)  # noqa: E731
            state = solver.solve(fn, tf.zeros_like(x)).state
            state = fixed_point.differentiate(fn, state, adjoint_solver=solver)
            loss = tf.reduce_sum(tf.constant(scales)[:, tf.newaxis] * state)
        return tape.gradient(loss, x).numpy() / np.array(scales)[:, np.newaxis]

    expected = gradient([1.0, 1.0, 1.0])
    for scales in ([1.0, 1e-4, 1e-8], [1e3, 1.0, 1.0]):
        np.testing.assert_allclose(gradient(scales), expected, rtol=1e-4)


@pytest.mark.parametrize("make", [tf.Variable, tf.constant])
def test_within_a_loop_what_stands_outside_is_refused(make):
    weights, solver = make(0.3 * random(4, 4)), fixed_point.get("anderson", **TIGHT)

    def point(x):
        fn = lambda z: tf.tanh(z @ weights + x)  # noqa: E731
        return fixed_point.differentiate(fn, solver.solve(fn, x).state, adjoint_solver=solver)

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            points = tf.map_fn(point, x)
        return tape.gradient(points, x)

    with pytest.raises(TransformationError, match="Take 'phantom' or 'jacobian_free'"):
        gradient(tf.constant(random(2, 3, 4)))
