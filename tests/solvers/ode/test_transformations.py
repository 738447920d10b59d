# SPDX-License-Identifier: Apache-2.0
"""Jacobians, `tf.vectorized_map` and forward mode: right, or an error that says what to use."""

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import solvers
from homoode_tf.solvers.tracing import TransformationError
from tests import slow

MODES = ("backprop", "checkpoint", "adjoint")
RATE = tf.Variable([0.5, 1.5], dtype=tf.float64)
START = tf.constant([[1.0, 2.0], [0.5, 0.3]], tf.float64)
# y' = -r y^2 has y(1) = y / (1 + r y), and dy(1)/dy = 1 / (1 + r y)^2.
END = START / (1.0 + RATE * START)
SLOPE = 1.0 / (1.0 + RATE * START) ** 2
BY_RATE = -(START**2) * SLOPE


def solve(mode, start, **settings):
    solver = solvers.get("bosh3", rtol=1e-5, atol=1e-5, gradient=mode, **settings)
    return solver.solve(lambda t, y: -RATE * y**2, 0.0, start, [1.0]).states[0]


def run(fn, in_graph):
    return tf.function(fn)() if in_graph else fn()


@pytest.fixture(params=[False, slow(True)], ids=["eager", "graph"])
def in_graph(request):
    return request.param


@pytest.mark.parametrize("mode", MODES)
def test_jacobian(mode, in_graph):
    def jacobian():
        with tf.GradientTape() as tape:
            tape.watch(START)
            end = solve(mode, START)
        return tape.jacobian(end, [START, RATE])

    by_start, by_rate = run(jacobian, in_graph)
    np.testing.assert_allclose(by_start, _diagonal(SLOPE), atol=1e-4)
    expected = np.einsum("ij,jk->ijk", BY_RATE, np.eye(2))
    np.testing.assert_allclose(by_rate, expected, atol=1e-4)


def _diagonal(entries):
    return tf.reshape(tf.linalg.diag(tf.reshape(entries, [-1])), [2, 2, 2, 2])


@pytest.mark.parametrize("mode", MODES)
def test_vectorized_map(mode, in_graph):
    def ends():
        return tf.vectorized_map(lambda start: solve(mode, start), START)

    if mode == "checkpoint":
        with pytest.raises(TransformationError, match="gradient='adjoint'"):
            run(ends, in_graph)
    else:
        np.testing.assert_allclose(run(ends, in_graph), END, atol=1e-4)


@pytest.mark.parametrize("mode", ["backprop", "adjoint"])
def test_gradient_within_vectorized_map(mode, in_graph):
    def slope(start):
        with tf.GradientTape() as tape:
            tape.watch(start)
            end = tf.reduce_sum(solve(mode, start))
        return tape.gradient(end, start)

    def slopes():
        return tf.vectorized_map(slope, START)

    if mode == "backprop":
        with pytest.raises(TransformationError, match="gradient='adjoint'"):
            run(slopes, in_graph)
    else:
        np.testing.assert_allclose(run(slopes, in_graph), SLOPE, atol=1e-4)


def test_several_times_within_vectorized_map():
    solver = solvers.get("dopri5", gradient="adjoint")
    with pytest.raises(TransformationError, match="one time after another"):
        tf.vectorized_map(lambda y: solver.solve(lambda t, y: -y, 0.0, y, [0.5, 1.0]).states, START)


@pytest.mark.parametrize("by_rate", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_forward_mode(mode, in_graph, by_rate):
    primals = RATE if by_rate else START

    def directional():
        with tf.autodiff.ForwardAccumulator(primals, tf.ones_like(primals)) as accumulator:
            end = solve(mode, START)
        return accumulator.jvp(end)

    if in_graph or mode != "backprop":
        with pytest.raises(NotImplementedError, match="gradient='backprop'"):
            run(directional, in_graph)
    else:
        expected = BY_RATE if by_rate else SLOPE
        np.testing.assert_allclose(directional(), expected, atol=1e-4)


@pytest.mark.parametrize("rate", [RATE, tf.constant(RATE)], ids=["variable", "tensor"])
@pytest.mark.parametrize("mode", MODES)
def test_within_a_loop_what_stands_outside_is_found_or_refused(mode, rate):
    def gradient(as_constant):
        solver = solvers.get("bosh3", rtol=1e-5, atol=1e-5, gradient=mode)

        def end(start):
            if not as_constant:
                return solver.solve(lambda t, y: -rate * y**2, 0.0, start, [1.0]).states[0]
            constants = {"r": tf.convert_to_tensor(rate)}
            return solver.solve(
                lambda t, y, r: -r * y**2, 0.0, start, [1.0], constants=constants
            ).states[0]

        with tf.GradientTape() as tape:
            tape.watch(START)
            ends = tf.map_fn(end, START)
        return tape.gradient(ends, START)

    np.testing.assert_allclose(tf.function(gradient)(True), SLOPE, atol=1e-4)
    if mode == "backprop":
        np.testing.assert_allclose(tf.function(gradient)(False), SLOPE, atol=1e-4)
    else:
        with pytest.raises(TransformationError, match="Give its value in `constants`"):
            tf.function(gradient)(False)
