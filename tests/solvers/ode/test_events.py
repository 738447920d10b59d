# SPDX-License-Identifier: Apache-2.0
"""A solve ends at the zero of a function, with the derivative of the time and the state there."""

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import solvers
from homoode_tf.solvers import SolverError, Status
from homoode_tf.solvers.first_order import SecondDerivativeError
from tests import slow

modes = pytest.mark.parametrize("mode", solvers.GRADIENTS)
controls = pytest.mark.parametrize("step_control", solvers.STEP_CONTROLS)
GRAVITY = 9.81


def make(mode="backprop", step_control="batch", **settings):
    tolerances = {"rtol": 1e-10, "atol": 1e-10} | settings
    return solvers.get("dopri5", gradient=mode, step_control=step_control, **tolerances)


def fall(t, z):
    return tf.stack([z[..., 1], tf.zeros_like(z[..., 1]) - GRAVITY], -1)


def height(t, z):
    return z[..., 0]


@pytest.mark.parametrize(
    ("mode", "step_control", "traced"),
    [
        *(
            (mode, control, False)
            for mode in solvers.GRADIENTS
            for control in solvers.STEP_CONTROLS
        ),
        slow("adjoint", "sample", True),
        slow("checkpoint", "batch", True),
        slow("backprop", "sample", True),
    ],
)
def test_a_ball_lands_with_the_gradient_of_its_time(mode, step_control, traced):
    """h + v t - g t^2 / 2 = 0 at t = (v + sqrt(v^2 + 2 g h)) / g."""
    drop = tf.constant([10.0, 3.0] if step_control == "sample" else 10.0, tf.float64)

    def land(drop):
        start = tf.stack([drop, 0.5 + tf.zeros_like(drop)], -1)
        results = make(mode, step_control).solve(fall, 0.0, start, [20.0], event_fn=height)
        return results.times[0], results.states[0][..., 1]

    land = tf.function(land, autograph=False) if traced else land
    root = np.sqrt(0.25 + 2.0 * GRAVITY * drop.numpy())
    with tf.GradientTape() as tape:
        tape.watch(drop)
        time, speed = land(drop)
        loss = tf.reduce_sum(time + 0.3 * speed)
    np.testing.assert_allclose(time, (0.5 + root) / GRAVITY, rtol=1e-12)
    np.testing.assert_allclose(speed, -root, rtol=1e-12)
    slope = (1.0 - 0.3 * GRAVITY) / root
    np.testing.assert_allclose(tape.gradient(loss, drop), slope, rtol=0, atol=1e-8)


@modes
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_by_all_that_the_event_depends_on(mode, sign):
    """y' = a y from t0 reaches the level at t0 + log(level / y) / a; either way of time."""
    rate, level = tf.Variable(0.7, dtype=tf.float64), tf.Variable(2.0, dtype=tf.float64)
    start, state = tf.constant(0.3, tf.float64), tf.constant([0.8], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([start, state])
        time = (
            make(mode, max_step_size=0.4)
            .solve(
                lambda t, y: sign * rate * y,
                sign * start,
                state,
                [sign * 9.0],
                event_fn=lambda t, y: level - y[0],
            )
            .times[0]
        )
    found = [time, *tape.gradient(time, [rate, level, start, state])]
    ratio = np.log(2.0 / 0.8)
    expected = [0.3 + ratio / 0.7, -ratio / 0.49, 1.0 / 1.4, sign, [-1.0 / 0.56]]
    for ours, theirs in zip(found, expected, strict=True):
        theirs = np.array(theirs) if ours is found[3] else sign * np.array(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_the_first_of_several_zeros_ends_it_and_a_start_on_one_does_not():
    results = make(max_step_size=1.0).solve(
        lambda t, y: tf.ones_like(y),
        0.0,
        tf.zeros([], tf.float64),
        [9.0],
        event_fn=lambda t, y: tf.sin(y),
    )
    np.testing.assert_allclose(results.times, [np.pi], rtol=1e-9)


@controls
def test_an_event_that_never_happens_is_an_error_or_a_status(step_control):
    start = tf.constant([[1.0, 0.0], [900.0, 0.0]], tf.float64)
    event = height if step_control == "sample" else lambda t, z: z[1, 0]

    def solve(on_failure):
        solver = make(step_control=step_control, on_failure=on_failure)
        return solver.solve(fall, 0.0, start, [2.0], event_fn=event)

    with pytest.raises(SolverError, match="event_fn did not change its sign up to the final time"):
        solve("raise")
    with pytest.raises(tf.errors.InvalidArgumentError, match="event_fn did not change its sign"):
        tf.function(lambda: solve("raise").states)()
    results = solve("return")
    status, time = results.diagnostics.status, results.times[0]
    if step_control == "sample":
        np.testing.assert_array_equal(status, [Status.SUCCESS, Status.NO_EVENT])
        np.testing.assert_allclose(time, [np.sqrt(2.0 / GRAVITY), 2.0], rtol=1e-12)
    else:
        assert int(status) == Status.NO_EVENT and float(time) == 2.0
    np.testing.assert_allclose(results.states[0, 1, 1], -2.0 * GRAVITY)


@pytest.mark.parametrize(
    "event",
    [
        lambda t, z: tf.sign(z[0] - 0.5),
        lambda t, z: tf.where(z[0] < 0.5, z[0] - 2.0, z[0] + 3.0),
    ],
)
def test_where_an_event_jumps_the_time_is_that_of_the_jump(event):
    """The correction by its slope, that leads elsewhere there, is not made."""
    results = make().solve(
        lambda t, z: -z, 0.0, tf.constant([1.0], tf.float64), [2.0], event_fn=event
    )
    np.testing.assert_allclose(results.times[0], np.log(2.0), rtol=1e-6)
    np.testing.assert_allclose(results.states[0], [0.5], rtol=1e-6)


@modes
def test_second_derivatives_are_refused(mode):
    drop = tf.constant(3.0, tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(drop)
        with tf.GradientTape() as inner:
            inner.watch(drop)
            start = tf.stack([drop, 0.0 * drop])
            time = make(mode).solve(fall, 0.0, start, [9.0], event_fn=height).times[0]
        slope = inner.gradient(time, drop)
    with pytest.raises(SecondDerivativeError, match="an event has first ones alone"):
        outer.gradient(slope, drop)


@pytest.mark.parametrize(
    ("settings", "times", "event", "message"),
    [
        ({}, [1.0, 2.0], height, "give one solution time, the latest there may be, got 2"),
        ({}, [1.0], lambda t, z: z, r"event_fn must return float64 of shape \(\)"),
        ({}, [1.0], lambda t, z: z[0] > 0.0, "event_fn must return float64"),
        ({"tableau": "dop853"}, [1.0], height, "no dense output .*: use dopri5 or tsit5"),
        (
            {"step_control": "sample", "stop_times": [0.5]},
            [1.0],
            height,
            "stop_times and event_fn exclude each other",
        ),
    ],
)
def test_refuses_what_cannot_be_an_event(settings, times, event, message):
    start = tf.ones([2, 2] if "step_control" in settings else [2], tf.float64)
    with pytest.raises(ValueError, match=message):
        make().replace(**settings).solve(fall, 0.0, start, times, event_fn=event)
