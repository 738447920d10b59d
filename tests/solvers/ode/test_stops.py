# SPDX-License-Identifier: Apache-2.0
"""Limits of the step, and stops where the right side jumps."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.layers import NeuralODE
from tests import slow
from tests.layers.vector_fields import DenseDynamics

modes = pytest.mark.parametrize("mode", solvers.GRADIENTS)
controls = pytest.mark.parametrize("step_control", solvers.STEP_CONTROLS)
JUMP = 0.55


def pulse(t, y):
    """Of height 20 and width 0.05 within [0, 100]."""
    inside = (t >= 50.0) & (t < 50.05)
    return tf.zeros_like(y) + tf.reshape(tf.where(inside, tf.cast(20.0, y.dtype), 0.0), [-1, 1])


@controls
def test_a_pulse_is_stepped_over_unless_a_setting_says_where_or_how_long(step_control):
    def area(**settings):
        solver = solvers.get("dopri5", step_control=step_control, gradient="backprop", **settings)
        solve = tf.function(lambda y: solver.solve(pulse, 0.0, y, [100.0]).states[0])
        return solve(tf.zeros([2, 1], tf.float64))

    np.testing.assert_array_equal(area(), 0.0)
    np.testing.assert_allclose(area(max_step_size=0.05, rtol=1e-6), 1.0, rtol=1e-3)
    np.testing.assert_allclose(area(stop_times=[50.05, 50.0]), 1.0, rtol=1e-12)


@controls
def test_no_step_is_longer_than_allowed(step_control):
    seen = []

    def field(t, y):
        seen.append(np.max(t))
        return tf.zeros_like(y)

    solver = solvers.get("bosh3", max_step_size=0.3, step_control=step_control)
    results = solver.solve(field, 0.0, tf.ones([2, 1], tf.float64), [2.0])
    assert np.all(results.diagnostics.num_accepted_steps >= 7)
    assert np.diff(sorted(set(seen))).max() <= 0.15 * (1 + 1e-6)  # a stage at the middle of each


WAYS = {
    "dopri5": {"rtol": 1e-11, "atol": 1e-11},
    "bosh3": {"rtol": 1e-11, "atol": 1e-11},
}


@modes
@pytest.mark.parametrize("step_control", ["batch", slow("sample")])
@pytest.mark.parametrize(
    ("name", "sign", "several"),
    [
        ("dopri5", -1.0, True),
        slow("bosh3", 1.0, False),
    ],
)
def test_gradients_across_a_jump(name, sign, several, mode, step_control):
    """y' = a y before the jump, b y after it: by y0, a, b, and all times."""
    values = [tf.constant(v, tf.float64) for v in ([[0.7], [1.3]], -0.8, 0.5, 0.1, 1.2)]

    def field(t, y, a, b):
        rate = tf.where(sign * t < JUMP, a, b)
        return sign * tf.reshape(rate, [-1, 1]) * y

    @tf.function
    def solve(y, a, b, start, end):
        solver = solvers.get(
            name, gradient=mode, step_control=step_control, stop_times=[sign * JUMP], **WAYS[name]
        )
        with tf.GradientTape() as tape:
            tape.watch([y, a, b, start, end])
            times = [0.3 * end, end] if several else [end]
            states = solver.solve(
                field, sign * start, y, [sign * t for t in times], constants={"a": a, "b": b}
            ).states
            loss = tf.reduce_sum(states)
        return loss, tape.gradient(loss, [y, a, b, start, end])

    @tf.function
    def exact(y, a, b, start, end):
        with tf.GradientTape() as tape:
            tape.watch([y, a, b, start, end])
            last = y * tf.exp(a * (JUMP - start) + b * (end - JUMP))
            loss = tf.reduce_sum(last)
            if several:
                loss += tf.reduce_sum(y * tf.exp(a * (0.3 * end - start)))
        return loss, tape.gradient(loss, [y, a, b, start, end])

    for found, expected in zip(
        tf.nest.flatten(solve(*values)), tf.nest.flatten(exact(*values)), strict=True
    ):
        # Inner times are differentiated through the interpolation, which loses an order.
        np.testing.assert_allclose(found, expected, rtol=1e-6 if several else 1e-9)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("start", [0.0, JUMP])
@pytest.mark.parametrize("name", ["rk4", "dopri5", "heun"])
def test_each_step_sees_its_own_side_alone(name, start, dtype):
    """A stage across the jump would be seen in the last digits of a quadrature."""
    solver = solvers.get(name, step_size=0.1, stop_times=[JUMP, 7.0], gradient="backprop")
    jump = tf.constant(JUMP, dtype)
    results = solver.solve(
        lambda t, y: tf.where(t < jump, tf.cast(1.0, dtype), 5.0),
        tf.constant(start, dtype),
        tf.zeros([], dtype),
        tfp.math.ode.ChosenBySolver(1.0),
    )
    assert JUMP in results.times.numpy().round(6)
    expected = 1.0 * (JUMP - start) + 5.0 * (1.0 - JUMP)
    np.testing.assert_allclose(
        results.states[-1], expected, rtol=1e-6 if dtype == tf.float32 else 1e-12
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_step_size": 0.0}, "max_step_size must be a number above 0 or None, got 0.0"),
        ({"max_step_size": 1.0, "num_steps": 2}, "max_step_size has no meaning beside num_steps"),
        ({"stop_times": 0.5}, "stop_times must be a list of numbers, got 0.5"),
        ({"stop_times": [0.5, np.nan]}, r"stop_times\[1\] must be a number, got nan"),
        ({"stop_times": [0.5], "num_steps": 2}, "no meaning beside num_steps: give step_size"),
    ],
)
def test_refuses_what_no_step_could_follow(settings, message):
    with pytest.raises(ValueError, match=message):
        solvers.get("dopri5", **settings)


def test_a_layer_takes_and_saves_them():
    layer = NeuralODE(DenseDynamics(2), max_step_size=0.25, stop_times=np.array([0.5]))
    assert type(layer).from_config(layer.get_config()).solver.settings == layer.solver.settings
    assert layer.solver.settings.stop_times == (0.5,)
    layer(tf.ones([1, 2]))
    assert int(layer.forward_nfe) >= 4 * 6


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("at_jump", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "settings"), [("rk4", {"step_size": 0.5}), ("heun", {"step_size": 0.3}), ("bosh3", {})]
)
def test_a_jump_at_time_zero(name, settings, at_jump, direction, dtype):
    """There the next number is one that counts as zero."""
    before = (lambda t: t < 0.0) if at_jump == "after" else (lambda t: t <= 0.0)
    one, two = tf.constant(1.0, dtype), tf.constant(100.0, dtype)
    solver = solvers.get(name, stop_times=[0.0], **settings)
    results = solver.solve(
        lambda t, y: tf.where(before(t), one, two), -direction, tf.zeros([], dtype), [direction]
    )
    tolerance = 1e-6 if dtype == tf.float32 else 1e-12
    np.testing.assert_allclose(results.states[0], 101.0 * direction, rtol=tolerance)
    assert int(results.diagnostics.num_rejected_steps) == 0
