# SPDX-License-Identifier: Apache-2.0
"""What `trace` refuses, what its tolerances mean, and how a path that fails ends."""

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import homotopy
from homoode_tf.errors import UserError
from homoode_tf.homotopy import HomotopyError, PathStatus
from tests.homotopy.systems import each_jacobian, root_mean_square, rosenbrock, t


def no_zero(z):
    return 1.0 + z**2


def ends_at_one_half(z):
    # sqrt(z) + 1 = 2 (1 - lambda) has no solution for lambda > 1/2.
    return tf.sqrt(z) + 1.0


def circle(z):
    # The Newton path stays on the circle, where the first component is never 0.
    return tf.stack([2.0 + z[0], tf.reduce_sum(z**2) - 1.0])


FAILURES = (
    ("MAX_NUM_STEPS", no_zero, 1.0, {"max_num_steps": 20}, "raise max_num_steps"),
    ("DIVERGED", no_zero, 1.0, {"max_distance": 5.0}, "no zero on this path"),
    ("STEP_UNDERFLOW", ends_at_one_half, 1.0, {}, "not be smooth or finite"),
    ("STEP_UNDERFLOW", ends_at_one_half, 1.0, {"min_step_length": 0.01}, "out of reach"),
    ("NON_FINITE", tf.math.log, -1.0, {}, "not finite at the initial point"),
    ("SINGULAR_START", no_zero, 0.0, {}, "homotopy='fixed_point'"),
    # Far out the states are so large that float32 cannot tell the next from the last.
    ("STEP_UNDERFLOW", no_zero, 3.0, {"dtype": tf.float32}, "use float64"),
    ("CLOSED", circle, [np.cos(1.0), np.sin(1.0)], {}, "came back to its start"),
    ("CLOSED", circle, [-0.6, -0.8], {"dtype": tf.float32}, "try the other homotopy"),
)


@each_jacobian
@pytest.mark.parametrize(("status", "residual", "start", "options", "message"), FAILURES)
def test_failures_have_a_status_and_raise(status, residual, start, options, message, jacobian):
    options = {"jacobian": jacobian, **options}
    start = tf.constant(np.atleast_1d(start), options.pop("dtype", tf.float64))
    path = homotopy.trace(residual, start, on_failure="return", **options)
    assert path.status == PathStatus[status] and path.status < 0 and not path.success
    np.testing.assert_array_equal(path.state, path.states[-1])
    assert len(path.lambdas) == len(path.states) == len(path.arc_lengths)
    np.testing.assert_allclose(
        path.residual_norm,
        root_mean_square(residual(path.state)),
        rtol=10 * np.finfo(start.dtype.as_numpy_dtype).eps,
    )
    with pytest.raises(HomotopyError, match=message) as caught:
        homotopy.trace(residual, start, **options)
    assert caught.value.status == path.status
    np.testing.assert_array_equal(caught.value.path.states, path.states)
    reached = f"Reached lambda {float(path.lambdas[-1]):.6g} after arc length"
    assert status in str(caught.value) and reached in str(caught.value)
    assert "on_failure='return'" in str(caught.value)


def test_a_failed_path_is_kept():
    path = homotopy.trace(no_zero, t([1.0]), max_distance=5.0, on_failure="return")
    # lambda = (1 - z^2) / 2 turns at z = 0.
    np.testing.assert_allclose(path.lambdas, (1.0 - path.states[:, 0] ** 2) / 2.0, atol=1e-7)
    assert 0.3 < max(path.lambdas) < 0.500001 and path.state[0] < -1.0
    path = homotopy.trace(ends_at_one_half, t([1.0]), on_failure="return")
    assert float(path.lambdas[-1]) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"homotopy": "Newton"}, "homotopy must be one of newton, fixed_point, got 'Newton'"),
        ({"jacobian": "sparse"}, "jacobian must be one of auto, dense, .*, got 'sparse'"),
        ({"on_failure": "warn"}, "on_failure must be one of raise, return, got 'warn'"),
        ({"rtol": 0.0}, "rtol must be a number above 0 or None, got 0.0"),
        ({"atol": -1e-3}, "atol must be a number above 0 or None, got -0.001"),
        ({"max_num_steps": 1.5}, "max_num_steps must be an integer at least 1, got 1.5"),
        ({"max_distance": np.inf}, "max_distance must be a number above 0 and at most .* got inf"),
        ({"initial_step_length": 11.0}, "initial_step_length must lie between .* got 11.0 with"),
        ({"min_step_length": 0.2}, "initial_step_length must lie between .* 0.1 with 0.2 and 10.0"),
    ],
)
def test_refuses_arguments_that_have_no_meaning(options, message):
    with pytest.raises(ValueError, match=message):
        homotopy.trace(rosenbrock, t([-1.2, 1.0]), **options)


@each_jacobian
@pytest.mark.parametrize(
    ("residual", "start", "error", "message"),
    [
        (tf.abs, [1], TypeError, "initial_point must be float32 or float64, got int32"),
        (tf.abs, t([]), ValueError, r"initial_point must have elements, got shape \(0,\)"),
        (tf.abs, t([np.nan]), ValueError, "initial_point must be finite"),
        (
            lambda z: z[:1],
            t([1.0, 2.0]),
            ValueError,
            r"residual must return the shape of initial_point, \(2,\), got \(1,\)",
        ),
        (
            lambda z: tf.cast(z, tf.float32),
            t([1.0]),
            TypeError,
            "residual must return the dtype of initial_point, float64, got float32",
        ),
    ],
)
def test_refuses_points_and_residuals_that_do_not_fit(residual, start, error, message, jacobian):
    with pytest.raises(error, match=message):
        homotopy.trace(residual, start, jacobian=jacobian)


@pytest.mark.parametrize("autograph", [True, False])
def test_must_run_eagerly(autograph):
    solve = tf.function(lambda z: homotopy.trace(tf.atan, z).state, autograph=autograph)
    for error in (UserError, RuntimeError):
        with pytest.raises(error, match="must be called eagerly.*outside of tf.function"):
            solve(t([3.0]))


def test_tolerances_mean_the_residual():
    for rtol, atol in [(1e-2, 1e-9), (1e-9, 1e-2), (1e-9, 1e-9)]:
        path = homotopy.trace(rosenbrock, t([-1.2, 1.0]), rtol=rtol, atol=atol)
        limit = atol + rtol * root_mean_square(rosenbrock(t([-1.2, 1.0])))
        assert path.residual_norm <= limit
