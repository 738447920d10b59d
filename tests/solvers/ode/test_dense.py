# SPDX-License-Identifier: Apache-2.0
"""Dense output: the solution at any time, of the method's order and with its gradients."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from tests import problems

EVERY = tfp.math.ode.ChosenBySolver
DENSE_ORDER = {"euler": 1, "heun": 2, "rk4": 3, "bosh3": 3, "dopri5": 4, "tsit5": 4}


@pytest.mark.parametrize("name", DENSE_ORDER)
def test_the_order_inside_of_the_steps(name):
    problem, times = problems.CHIRP, np.linspace(0.1, 3.9, 50)
    exact = np.stack([problem.exact(t) for t in times])

    def error(step_size):
        solver = solvers.get(name, step_size=step_size, gradient="backprop")
        solve = tf.function(
            lambda: solver.solve(
                problem.tf_field, 0.0, problem.tf_start, EVERY(4.0), dense=True
            ).interpolant(times)
        )
        return np.abs(solve() - exact).max()

    assert np.log2(error(0.04) / error(0.02)) > DENSE_ORDER[name] - 0.2


@pytest.mark.parametrize("mode", solvers.GRADIENTS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_gradients_at_any_time(mode, sign):
    """Nested; y' = -a y, w' = y: by state, constant, variable, initial time and time asked for."""
    rate = tf.Variable(0.7, dtype=tf.float64)
    solver = solvers.get("tsit5", rtol=1e-10, atol=1e-10, gradient=mode)
    values = [tf.constant(v, tf.float64) for v in ([1.0, 2.0], 0.2, [[0.9, 1.3], [0.5, 1.9]])]

    @tf.function
    def solve(state, start, times):
        with tf.GradientTape() as tape:
            tape.watch([state, start, times])
            results = solver.solve(
                lambda t, z: {"y": -sign * rate * z["y"], "w": sign * z["y"]},
                sign * start,
                {"y": state, "w": tf.zeros_like(state)},
                [sign * 2.0],
                dense=True,
            )
            found = results.interpolant(sign * times)
            loss = tf.reduce_sum(found["y"] + tf.square(found["w"]))
        return found, tape.gradient(loss, [state, start, times, rate])

    @tf.function
    def exact(state, start, times):
        with tf.GradientTape() as tape:
            tape.watch([state, start, times])
            y = state * tf.exp(-rate * (times - start))[..., tf.newaxis]
            w = (state - y) / rate
            loss = tf.reduce_sum(y + tf.square(w))
        return {"y": y, "w": w}, tape.gradient(loss, [state, start, times, rate])

    found, expected = (tf.nest.flatten(fn(*values)) for fn in (solve, exact))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-8)


def test_at_the_ends_of_the_steps_it_is_the_states_and_elsewhere_what_was_asked_for():
    def field(t, y):
        return -y * tf.cast(1.0 if t < 1.0 else 3.0, y.dtype)

    solver = solvers.get("dopri5", gradient="backprop", stop_times=[1.0])
    start = tf.ones([3], tf.float64)
    steps = solver.solve(field, 0.0, start, EVERY(2.0), dense=True)
    np.testing.assert_allclose(steps.interpolant(steps.times), steps.states, rtol=1e-12)
    asked = solver.solve(field, 0.0, start, [0.7, 2.0], dense=True)
    np.testing.assert_allclose(asked.states, steps.interpolant([0.7, 2.0]), rtol=1e-12)
    np.testing.assert_array_equal(asked.times, [0.7, 2.0])
    assert asked.interpolant(0.5).shape == (3,)


def test_refuses_times_without_a_solution():
    solver = solvers.get("dopri5", gradient="backprop")
    start = tf.ones([2])
    results = solver.solve(lambda t, y: -y, 0.0, start, [1.0], dense=True)
    with pytest.raises(ValueError, match="times must lie between 0 and 1, .*: solve to a later"):
        results.interpolant([0.5, 1.5])

    @tf.function
    def in_a_graph():
        results = solver.solve(lambda t, y: -y, 0.0, start, [1.0], dense=True)
        return results.interpolant([0.5, 1.5])

    np.testing.assert_array_equal(np.isnan(in_a_graph()), [[False] * 2, [True] * 2])
    for settings, message in [
        ({"tableau": "dop853"}, "dop853 has no dense output of its order"),
        ({"step_control": "sample"}, "dense=True needs one time for all"),
    ]:
        with pytest.raises(ValueError, match=message):
            solver.replace(**settings).solve(lambda t, y: -y, 0.0, start, [1.0], dense=True)
