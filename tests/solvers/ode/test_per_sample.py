# SPDX-License-Identifier: Apache-2.0
"""With step_control="sample" a sample's result does not depend on its batch mates."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from tests import slow


def rates_field(t, state):
    """Each sample has its own rate, its last entry, which stays constant."""
    z, rate = state[:, :-1], state[:, -1:]
    slope = -rate * (z - tf.sin(t)[:, tf.newaxis]) + tf.cos(t)[:, tf.newaxis]
    return tf.concat([slope, tf.zeros_like(rate)], 1)


def solve(rates, solver, times=(1.0,)):
    rates = tf.constant(rates, tf.float32)[:, tf.newaxis]
    start = tf.concat([tf.ones([len(rates), 3]), rates], 1)
    return tf.function(lambda: solver.solve(rates_field, 0.0, start, list(times)))()


ONE, THREE = (1.0,), (0.3, 0.9, 1.0)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("dopri5", ONE),
        ("dopri5", THREE),
        slow("heun_euler", ONE),
        slow("bosh3", THREE),
        slow("tsit5", ONE),
        slow("dop853", THREE),
    ],
)
def test_independence(name, times):
    """Alone, in a batch, and beside stiff neighbours: the same to 1e-5."""
    solver = solvers.get(name, rtol=1e-3, atol=1e-3, step_control="sample")
    alone = solve([0.7], solver, times).states[:, 0]
    batch = solve([0.7, *np.linspace(0.1, 3.0, 7)], solver, times).states[:, 0]
    beside_stiff = solve([0.7, 300.0, 80.0], solver, times).states[:, 0]
    np.testing.assert_allclose(batch, alone, atol=1e-5)
    np.testing.assert_allclose(beside_stiff, alone, atol=1e-5)


def test_batch_control_does_depend_on_the_neighbours():
    solver = solvers.get("heun_euler", rtol=1e-1, atol=1e-1)

    def field(t, z):
        return rates_field(tf.fill([z.shape[0]], t), z)

    def first(rates):
        start = tf.constant([[1.0, 1.0, 1.0, r] for r in rates])
        return solver.solve(field, 0.0, start, [1.0]).states[0, 0]

    assert np.max(np.abs(first([0.7]) - first([0.7, 40.0]))) > 1e-5


def test_finished_samples_stand_still():
    solver = solvers.get("dopri5", rtol=1e-3, atol=1e-3, step_control="sample")
    diagnostics = solve([0.1, 100.0], solver).diagnostics
    easy, hard = diagnostics.num_accepted_steps.numpy()
    assert easy < 5 < hard
    np.testing.assert_array_equal(diagnostics.time, [1.0, 1.0])
    assert diagnostics.num_ode_fn_evaluations.shape == ()


def test_one_failing_sample_leaves_the_others_alone():
    """z' = z^2 from 2 blows up at t = 0.5; from 0.1 it does not."""
    solver = solvers.get("dopri5", step_control="sample", on_failure="return")
    results = solver.solve(lambda t, z: z * z, 0.0, tf.constant([[2.0], [0.1]]), [1.0])
    assert results.diagnostics.status.numpy()[0] < 0 == results.diagnostics.status.numpy()[1]
    assert not results.diagnostics.success
    assert float(results.diagnostics.time[0]) == pytest.approx(0.5, abs=1e-2)
    assert np.all(np.isfinite(results.states))
    assert float(results.states[0, 1, 0]) == pytest.approx(1.0 / 9.0, rel=1e-3)


def test_warm_start_by_sample():
    solver = solvers.get("dopri5", rtol=1e-3, atol=1e-3, step_control="sample")
    start = tf.ones([2, 3])
    state = solvers.SolverInternalState(tf.constant([1.0, 0.2]))
    results = solver.solve(lambda t, z: -z, 0.0, start, [1.0], previous_solver_internal_state=state)
    steps = results.diagnostics.num_accepted_steps.numpy()
    assert steps[0] <= steps[1]


def test_arguments():
    solver = solvers.get("dopri5", step_control="sample")
    with pytest.raises(ValueError, match="needs a leading batch dimension"):
        solver.solve(lambda t, z: z, 0.0, tf.ones([]), [1.0])
    with pytest.raises(ValueError, match="use step_control='batch', got 'sample'"):
        times = tfp.math.ode.ChosenBySolver(1.0)
        solver.solve(lambda t, z: z, 0.0, tf.ones([2, 1]), times)
    with pytest.raises(ValueError, match="batch_ndims must be None or 1"):
        solver.solve(lambda t, z: z, 0.0, tf.ones([2, 1]), [1.0], batch_ndims=0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("mode", ["adjoint", "checkpoint"])
def test_a_sample_that_fails_leaves_the_gradients_of_the_others_alone(mode, bad):
    settings = {"step_control": "sample", "on_failure": "return", "gradient": mode}
    solver = solvers.get("dopri5", rtol=1e-6, atol=1e-7, **settings)
    start = tf.constant([[0.1], [0.2], [bad]])

    @tf.function
    def gradient(start, judged):
        with tf.GradientTape() as tape:
            tape.watch(start)
            states = solver.solve(lambda t, z: z * z, 0.0, start, [1.0]).states[0]
            loss = tf.reduce_sum(states[:judged])
        return tape.gradient(loss, start)

    found = gradient(start, 2)
    # z(1) = z / (1 - z)
    np.testing.assert_allclose(found[:2, 0], [0.9**-2, 0.8**-2], rtol=1e-4)
    # Of one that failed there is no gradient, and none is made up.
    assert not np.isfinite(gradient(start, 3)[2, 0])
    if mode == "adjoint":
        assert float(found[2, 0]) == 0.0


@pytest.mark.parametrize("mode", ["adjoint", "checkpoint", "backprop"])
def test_an_empty_batch_has_a_gradient_of_zero(mode):
    solver = solvers.get("dopri5", step_control="sample", gradient=mode)
    rate = tf.constant(-1.0)

    @tf.function
    def gradient(rate):
        with tf.GradientTape() as tape:
            tape.watch(rate)
            states = solver.solve(
                lambda t, z, rate: rate * z, 0.0, tf.zeros([0, 3]), [1.0], constants={"rate": rate}
            ).states
            loss = tf.reduce_sum(states)
        return tape.gradient(loss, rate)

    assert float(gradient(rate)) == 0.0
