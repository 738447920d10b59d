# SPDX-License-Identifier: Apache-2.0
"""Failures end the solve, say why, and name the time, the step size and a remedy."""

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import solvers
from homoode_tf.solvers import Status
from homoode_tf.solvers.ode import failure


def blow_up(t, z):
    """z(t) = 1 / (1 - t) from z(0) = 1."""
    return z * z


def not_a_number(t, z):
    return z * tf.constant(np.nan, z.dtype)


def not_a_number_later(t, z):
    t = t if t.shape.rank == 0 else t[:, tf.newaxis]
    return tf.where(t > 0.5, tf.constant(np.nan, z.dtype), z)


def stiff(t, z):
    return -1e4 * z


CASES = [
    (blow_up, {}, Status.STEP_UNDERFLOW, "no singularity there"),
    (not_a_number, {}, Status.NON_FINITE, "not finite"),
    (not_a_number_later, {}, Status.NON_FINITE, "not finite"),
    (stiff, {"max_num_steps": 20}, Status.MAX_NUM_STEPS, "raise max_num_steps"),
]
cases = pytest.mark.parametrize(
    ("field", "options", "status", "message"), CASES, ids=[c[0].__name__ for c in CASES]
)
START = tf.constant([[1.0], [1.0]], tf.float64)


@cases
@pytest.mark.parametrize("step_control", ["batch", "sample"])
class TestFailures:
    def test_graph_raises(self, field, options, status, message, step_control):
        solver = solvers.get("bosh3", step_control=step_control, **options)
        solve = tf.function(lambda: solver.solve(field, 0.0, START, [2.0]).states)
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            solve()

    def test_xla_cannot_raise_but_gives_nan(self, field, options, status, message, step_control):
        solver = solvers.get("bosh3", step_control=step_control, **options)
        solve = tf.function(lambda: solver.solve(field, 0.0, START, [2.0]), jit_compile=True)
        results = solve()
        assert np.isnan(results.states).all()
        assert np.all(results.diagnostics.status == int(status))

    def test_in_a_scope_it_is_nan(self, field, options, status, message, step_control):
        # The failures and the gradients do not know each other: each mode meets some of them.
        number = [case[0] for case in CASES].index(field) + (step_control == "sample")
        gradient = solvers.GRADIENTS[number % 3]
        solver = solvers.get("bosh3", step_control=step_control, gradient=gradient, **options)

        @tf.function
        def solve():
            with failure.failures_as_nan(), tf.GradientTape() as tape:
                tape.watch(START)
                states = solver.solve(field, 0.0, START, [2.0]).states
                with tape.stop_recording():
                    tape.gradient(states, START)
            return states

        assert np.isnan(solve()).all()

    def test_return_gives_the_last_state(self, field, options, status, message, step_control):
        solver = solvers.get("bosh3", step_control=step_control, on_failure="return", **options)
        for times in ([2.0], [0.001, 2.0]):
            results = tf.function(lambda times=times: solver.solve(field, 0.0, START, times))()
            assert np.all(results.diagnostics.status == int(status))
            assert not results.diagnostics.success
            assert np.all(results.diagnostics.time < 2.0)
            assert np.all(np.isfinite(results.states[-1]))


@cases
def test_eager_raises_with_time_and_step_size(field, options, status, message):
    solver = solvers.get("bosh3", **options)
    with pytest.raises(solvers.SolverError, match=message) as caught:
        solver.solve(field, 0.0, START, [2.0])
    assert caught.value.status is status
    assert 0.0 <= caught.value.time < 2.0 and caught.value.step_size > 0.0
    assert f"Reached time {caught.value.time:.6g} with step size" in str(caught.value)
    assert "on_failure='return'" in str(caught.value)


def test_fixed_steps_notice_states_that_are_not_finite():
    solver = solvers.get("rk4", num_steps=3)
    with pytest.raises(solvers.SolverError, match="not finite"):
        solver.solve(not_a_number, 0.0, START, [1.0])


def test_the_backward_solve_fails_as_clearly():
    solver = solvers.get(
        "dopri5", max_num_steps=50, adjoint_rtol=1e-12, adjoint_atol=1e-12, rtol=1e-2, atol=1e-2
    )
    with tf.GradientTape() as tape:
        tape.watch(START)
        state = solver.solve(lambda t, z: tf.sin(9.0 * z), 0.0, START, [1.0]).states
    message = "adjoint solve: max_num_steps was used up.*gradient='checkpoint' differentiates"
    with pytest.raises(solvers.SolverError, match=message):
        tape.gradient(state, START)
