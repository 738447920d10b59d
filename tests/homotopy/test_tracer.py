# SPDX-License-Identifier: Apache-2.0
"""Steps along the path: turning points, lengths, what they cost, and where they end."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate

from homoode_tf import homotopy
from homoode_tf.homotopy import PathStatus
from tests.homotopy.systems import (
    HOMOTOPIES,
    SYSTEMS,
    broyden_tridiagonal,
    cubic,
    cubic_root,
    each_jacobian,
    each_method,
    rosenbrock,
    t,
)


def test_arrives_where_newton_diverges():
    state = 3.0
    for _ in range(4):
        last, state = state, state - np.arctan(state) * (1.0 + state**2)
        assert abs(state) > 3.0 * abs(last)
    path = homotopy.trace(tf.atan, t([3.0]))
    assert abs(path.state[0]) < 1e-8 and max(abs(path.states[:, 0])) == 3.0


@each_jacobian
def test_passes_turning_points(jacobian):
    # lambda = 1 - r(z) / r(2) has its turning points where r' = 0: at z = 1 and z = -1.
    path = homotopy.trace(cubic, t([2.0]), jacobian=jacobian, max_step_length=0.3)
    states, lambdas = path.states[:, 0].numpy(), path.lambdas.numpy()
    rising = np.diff(lambdas) > 0.0
    assert np.flatnonzero(np.diff(rising)).size == 2 and rising[0] and rising[-1]
    assert (np.diff(states) < 0.0).all()
    turns = np.flatnonzero(np.diff(rising)) + 1
    np.testing.assert_allclose(states[turns], [1.0, -1.0], atol=0.3)
    np.testing.assert_allclose(lambdas[turns], [0.8, 0.0], atol=0.1)
    np.testing.assert_allclose(path.state[0], cubic_root()[0, 0], rtol=1e-10)


@each_method
@pytest.mark.parametrize(("start", "max_step_length"), [(1.0, 10.0), (3.0, 10.0), (3.0, 0.2)])
def test_ends_at_a_double_root_that_the_path_only_touches(start, max_step_length, name, jacobian):
    # The paths have a turning point at lambda = 1 itself; they never go beyond.
    path = homotopy.trace(
        lambda z: z**2,
        t([start]),
        homotopy=name,
        jacobian=jacobian,
        max_step_length=max_step_length,
    )
    assert path.residual_norm < 1e-9 and abs(path.state[0]) < 1e-4
    assert path.num_steps < 30


def test_a_step_is_not_corrected_by_much_of_its_length():
    # The tangent at z = 3 reaches lambda = 1 at z = 1.5. Newton's method gets from there to z = 0,
    # but over a distance of 1.5 after a step of 1.8.
    path = homotopy.trace(lambda z: z**2, t([3.0]), initial_step_length=10.0)
    assert 0.0 < path.lambdas[1] < 1.0 and len(path.lambdas) <= path.num_steps


def test_arc_length_of_a_curve():
    path = homotopy.trace(cubic, t([2.0]), max_step_length=0.1)
    speed = lambda z: np.hypot(1.0, (3.0 * z**2 - 3.0) / 5.0)  # noqa: E731
    expected = integrate.quad(speed, cubic_root()[0, 0], 2.0)[0]
    assert float(path.arc_lengths[-1]) == pytest.approx(expected, rel=1e-3)


def test_arc_length_does_not_depend_on_the_number_of_elements():
    one = homotopy.trace(rosenbrock, t([-1.2, 1.0]))
    eight = homotopy.trace(rosenbrock, t([[-1.2, 1.0]] * 8))
    assert eight.states.shape == [len(one.lambdas), 8, 2]
    np.testing.assert_allclose(eight.lambdas, one.lambdas, atol=1e-7)
    np.testing.assert_allclose(eight.arc_lengths, one.arc_lengths, rtol=1e-7)
    np.testing.assert_allclose(eight.states[:, 5], one.states, atol=1e-7)


@each_method
def test_counts_every_evaluation(name, jacobian):
    calls = tf.Variable(0)

    def counted(z):
        calls.assign_add(1)
        return broyden_tridiagonal(z)

    path = homotopy.trace(counted, t(-np.ones(20)), homotopy=name, jacobian=jacobian)
    assert path.num_evaluations > 5
    assert int(calls) == path.num_evaluations + path.num_jacobian_products


def test_step_lengths_stay_within_their_bounds():
    path = homotopy.trace(cubic, t([2.0]), initial_step_length=0.05, max_step_length=0.2)
    steps = np.diff(path.arc_lengths)
    assert steps[0] == pytest.approx(0.05, rel=0.02) and 0.15 < steps.max() < 0.21
    longer = homotopy.trace(cubic, t([2.0]))
    assert len(longer.lambdas) < len(path.lambdas)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", HOMOTOPIES)
def test_a_start_that_is_a_zero_is_returned(name, dtype):
    path = homotopy.trace(rosenbrock, tf.constant([1.0, 1.0], dtype), homotopy=name)
    np.testing.assert_array_equal(path.states, np.ones([2, 2]))
    np.testing.assert_array_equal(path.lambdas, [0.0, 1.0])
    assert path.success and path.num_evaluations == 1


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1, 2, 2, 2)])
def test_states_of_any_shape(shape):
    path = homotopy.trace(lambda z: z - tf.cos(z), tf.zeros(shape, tf.float64))
    assert path.state.shape == shape and path.states.shape == (len(path.lambdas), *shape)
    np.testing.assert_allclose(path.state, np.full(shape, 0.7390851332151607), rtol=1e-9)


@each_method
def test_float32(name, jacobian):
    start = tf.constant([-1.2, 1.0], tf.float32)
    path = homotopy.trace(rosenbrock, start, homotopy=name, jacobian=jacobian)
    for tensor in (path.state, path.states, path.lambdas, path.arc_lengths):
        assert tensor.dtype == tf.float32
    np.testing.assert_allclose(path.state, [1.0, 1.0], atol=1e-3)


def convolutional_map(size):
    """g(z; x) = 0.5 tanh(conv(z) + x), contractive by a factor of 0.45."""
    rng = np.random.RandomState(0)
    kernel = rng.randn(3, 3, 2, 2)
    # The convolution's norm is at most the sum over positions of the spectral norms.
    kernel *= 0.9 / np.linalg.norm(kernel, 2, axis=(2, 3)).sum()
    condition = t(rng.randn(1, size, size, 2))
    return lambda z: 0.5 * tf.tanh(tf.nn.conv2d(z, t(kernel), 1, "SAME") + condition)


@pytest.mark.parametrize("name", HOMOTOPIES)
@pytest.mark.parametrize(("size", "jacobian"), [(4, "matrix_free"), (4, "dense"), (12, "auto")])
def test_fixed_point_of_a_convolutional_map(size, jacobian, name):
    g = convolutional_map(size)
    expected = tf.zeros([1, size, size, 2], tf.float64)
    for _ in range(60):
        expected = g(expected)
    start = tf.ones_like(expected)
    path = homotopy.trace(lambda z: z - g(z), start, homotopy=name, jacobian=jacobian)
    assert np.abs(expected - g(expected)).max() < 1e-14
    np.testing.assert_allclose(path.state, expected, rtol=0.0, atol=1e-8)
    # 288 elements are too many for "auto" to choose "dense".
    assert (path.num_jacobian_evaluations == 0) == (jacobian != "dense")


@each_jacobian
@pytest.mark.parametrize("system", [s for s in SYSTEMS if len(s.homotopies) == 1], ids=str)
def test_the_other_path_of_these_systems_goes_to_infinity(system, jacobian):
    # Powell's turns at lambda = 0.03, Brown's already at 5e-6; so they do with steps of 0.02.
    (other,) = set(HOMOTOPIES) - set(system.homotopies)
    path = homotopy.trace(
        system.residual,
        t(system.start),
        homotopy=other,
        jacobian=jacobian,
        max_distance=20.0,
        on_failure="return",
    )
    assert path.status == PathStatus.DIVERGED and max(path.lambdas) < 0.1
