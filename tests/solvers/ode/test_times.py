# SPDX-License-Identifier: Apache-2.0
"""Times of every kind: large, decreasing, equal, wrong; for every solver, mode and step control."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.solvers import Status
from tests import slow

FIXED = ("euler", "midpoint", "heun", "rk4")
MODES = ("adjoint", "checkpoint", "backprop")
every_solver = pytest.mark.parametrize("name", solvers.names())
modes = pytest.mark.parametrize("mode", MODES)
# How steps are made: by solver and its settings.
WAYS = {
    "dopri5": ("dopri5", {}),
    "bosh3 by sample": ("bosh3", {"step_control": "sample"}),
    "dop853": ("dop853", {}),
    "rk4 in 20 steps": ("rk4", {"num_steps": 20}),
    "rk4 by 0.07": ("rk4", {"step_size": 0.07}),
}
# Those with less to trace, and all.
QUICK = [way for way in WAYS if way != "dop853"]
quick_ways = pytest.mark.parametrize("way", QUICK)
ways = pytest.mark.parametrize("way", [*QUICK, slow("dop853")])


def make(way, **options):
    name, settings = WAYS[way]
    adaptive = not settings.keys() & {"num_steps", "step_size"}
    tolerances = {"rtol": 1e-7, "atol": 1e-7} if adaptive else {}
    return solvers.get(name, **tolerances, **settings, **options)


@every_solver
@pytest.mark.parametrize("start", [1e5, -1e7])
def test_a_large_initial_time_costs_no_digits(name, start):
    """y' = -y over a unit of time in float32, whose numbers near 1e7 are one apart."""
    options = {"num_steps": 400} if name in FIXED else {"rtol": 1e-5, "atol": 1e-5}
    solver = solvers.get(name, **options)
    results = solver.solve(lambda t, y: -y, start, tf.ones([2]), [start + 1.0])
    np.testing.assert_allclose(
        results.states[0], np.exp(-1.0), rtol=2e-3 if name == "euler" else 2e-4
    )
    if name in FIXED:
        assert int(results.diagnostics.num_accepted_steps) == 400


def turn(t, y):
    """The unit circle, at unit speed."""
    return tf.stack([y[1], -y[0]])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("rk4", {"step_size": 2e-3}),
        ("rk4", {"num_steps": 30_000}),
        ("bosh3", {"max_step_size": 2e-3}),
        ("bosh3", {"max_step_size": 2e-3, "step_control": "sample"}),
    ],
)
def test_many_short_steps_go_as_far_as_the_clock(name, settings):
    """In float32 each of them is rounded by the clock, which must not add up."""
    solver = solvers.get(name, max_num_steps=10**6, rtol=1e-5, atol=1e-5, **settings)

    @tf.function
    def solve():
        return solver.solve(turn, 0.0, tf.constant([0.0, 1.0]), [60.0])

    results = solve()
    np.testing.assert_allclose(results.states[0], [np.sin(60.0), np.cos(60.0)], atol=2e-4)
    if "max_step_size" not in settings:
        assert int(results.diagnostics.num_accepted_steps) == 30_000


def test_steps_of_a_size_between_times_off_its_grid():
    solver = solvers.get("rk4", step_size=0.1, stop_times=[0.25])
    every_step = tfp.math.ode.ChosenBySolver(1.0)
    results = solver.solve(lambda t, y: tf.ones_like(y), 0.0, tf.zeros([1]), every_step)
    times = [0.0, 0.1, 0.2, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.0]
    np.testing.assert_allclose(results.times, times, rtol=1e-6)
    np.testing.assert_allclose(results.states[:, 0], times, rtol=1e-6)


@every_solver
@pytest.mark.parametrize(
    ("start", "end"), [(1.7e9, 1.7e9 + 60), (1.7e9, 1.7e9 + 100), (1e6, 1e6 + 0.3)]
)
def test_numbers_that_the_dtype_cannot_tell_apart_are_refused(name, start, end):
    solver = solvers.get(name, **({"num_steps": 4} if name in FIXED else {}))
    with pytest.raises(ValueError, match="float32 cannot tell the times apart"):
        solver.solve(lambda t, y: -y, start, tf.ones([1]), [end])
    y = solver.solve(lambda t, y: -0.01 * y, start, tf.ones([1], tf.float64), [end]).states
    np.testing.assert_allclose(y, np.exp(-0.01 * (end - start)), rtol=0.2)


@pytest.mark.parametrize("variable", [keras.Variable, tf.Variable])
def test_variables_as_times(variable):
    solver = solvers.get("dopri5", rtol=1e-6, atol=1e-6)
    start, end = variable(0.5), variable(1.0)
    with tf.GradientTape() as tape:
        y = solver.solve(lambda t, y: -y, start, tf.ones([1]), [end]).states
    found = tape.gradient(
        y, [getattr(v, "value", v) if variable is keras.Variable else v for v in (start, end)]
    )
    np.testing.assert_allclose(found, [np.exp(-0.5), -np.exp(-0.5)], rtol=1e-4)


def test_steps_of_a_size_that_only_the_clock_resolves():
    solver = solvers.get("rk4", step_size=0.05)
    results = solver.solve(lambda t, y: -y, 1e7, tf.ones([2]), [1e7 + 1.0])
    assert int(results.diagnostics.num_accepted_steps) == 20
    np.testing.assert_allclose(results.states[0], np.exp(-1.0), rtol=1e-5)


@every_solver
@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_no_stage_lies_outside_of_the_interval(name, direction):
    rng = np.random.RandomState(0)
    seen = []

    def field(t, y):
        seen.append(t)
        return tf.zeros_like(y)

    for _ in range(3):
        start = np.float32(rng.randn())
        end = np.float32(start + direction * rng.rand())
        for options in [{"num_steps": int(rng.randint(1, 9))}, {"step_size": 0.3 * rng.rand()}]:
            seen.clear()
            solver = solvers.get(name, max_num_steps=60, on_failure="return", **options)
            solver.solve(field, float(start), tf.ones([1]), [float(end)])
            low, high = min(start, end), max(start, end)
            assert all(low <= float(t) <= high for t in seen)


@modes
@ways
def test_decreasing_times_are_those_of_the_mirrored_field(way, mode):
    """States and gradients by the state, a constant and all times."""
    several = way in ("dopri5", "bosh3 by sample", "rk4 by 0.07")
    values = {
        "state": tf.constant([[0.3, -0.2], [0.5, 0.1]], tf.float64),
        "rate": tf.constant(0.8, tf.float64),
        "start": tf.constant(1.1, tf.float64),
        "times": tf.constant([0.7, 0.2, -0.4] if several else [-0.4], tf.float64),
    }

    def field(t, y, rate):
        t = tf.reshape(t, [-1, 1])
        return tf.sin(rate * y) + tf.cos(t) * y

    @tf.function
    def solve(state, rate, start, times, sign):
        with tf.GradientTape() as tape:
            tape.watch([state, rate, start, times])
            states = (
                make(way, gradient=mode)
                .solve(
                    lambda t, y, rate: sign * field(sign * t, y, rate),
                    sign * start,
                    state,
                    sign * times,
                    constants={"rate": rate},
                )
                .states
            )
            loss = tf.reduce_sum(states**2 * tf.cast(tf.range(1, 3), tf.float64))
        return states, tape.gradient(loss, [state, rate, start, times])

    backwards = solve(**values, sign=tf.constant(1.0, tf.float64))
    mirrored = solve(**values, sign=tf.constant(-1.0, tf.float64))
    for found, expected in zip(tf.nest.flatten(backwards), tf.nest.flatten(mirrored), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@modes
@ways
def test_an_interval_of_length_zero_has_its_derivative(way, mode):
    """z(T) at T = t0 is z0, and dz/dT = F, dz/dt0 = -F."""

    @tf.function
    def compute(start, end, state):
        with tf.GradientTape() as tape:
            tape.watch([start, end])
            solver = make(way, gradient=mode)
            states = solver.solve(lambda t, y: 3.0 * y, start, state, [end]).states
            value = tf.reduce_sum(states)
        return states, tape.gradient(value, [end, start])

    one = tf.constant(1.0, tf.float64)
    states, (by_end, by_start) = compute(one, one, tf.ones([2, 1], tf.float64))
    np.testing.assert_array_equal(states, np.ones([1, 2, 1]))
    assert float(by_end) == pytest.approx(6.0) and float(by_start) == pytest.approx(-6.0)


@pytest.mark.parametrize(
    ("way", "times"),
    [*zip(QUICK, [[2.0, 1.0, 3.0], [0.5, np.nan], [np.inf], [-1.0, 1.0]], strict=True)],
)
def test_wrong_times_of_a_graph_end_in_a_status_that_raises(way, times):
    def solve(times, on_failure):
        solver = make(way, on_failure=on_failure, max_num_steps=100)
        return solver.solve(lambda t, y: -y, 0.0, tf.ones([2, 1], tf.float64), times)

    times = tf.constant(times, tf.float64)
    results = tf.function(solve)(times, "return")
    assert np.all(results.diagnostics.status == int(Status.INVALID_TIMES))
    with pytest.raises(tf.errors.InvalidArgumentError, match="in one direction"):
        tf.function(lambda times: solve(times, "raise").states)(times)


@modes
@quick_ways
def test_in_a_v1_graph_with_a_session(way, mode):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        state = tf.ones([2, 1], tf.float64)
        states = make(way, gradient=mode).solve(lambda t, y: -y, 0.0, state, [1.0]).states
        gradient = tf.gradients(states, state)[0]
        found, gradient = session.run([states, gradient])
        failing = solvers.get("heun_euler", max_num_steps=2, rtol=1e-9, gradient=mode)
        states = failing.solve(lambda t, y: tf.sin(9.0 * y), 0.0, state, [5.0]).states
        with pytest.raises(tf.errors.InvalidArgumentError, match="max_num_steps was used up"):
            session.run(states)
    np.testing.assert_allclose(found[0], np.exp(-1.0), rtol=1e-5)
    np.testing.assert_allclose(gradient, np.exp(-1.0), rtol=1e-5)


@modes
def test_complex_constants_have_gradients(mode):
    """y' = Re(a y): only the real part of a counts."""
    solver = solvers.get("dopri5", rtol=1e-8, atol=1e-8, gradient=mode)
    a = tf.constant(0.5 + 0.3j, tf.complex128)
    with tf.GradientTape() as tape:
        tape.watch(a)
        states = solver.solve(
            lambda t, y, a: tf.math.real(a * tf.cast(y, tf.complex128)),
            0.0,
            tf.ones([], tf.float64),
            [1.0],
            constants={"a": a},
        ).states
    assert complex(tape.gradient(states, a)) == pytest.approx(np.exp(0.5), rel=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_a_complex_derivative_of_a_real_state_is_refused(mode):
    with pytest.raises(TypeError, match="its imaginary part would be lost"):
        solvers.get("dopri5", gradient=mode).solve(
            lambda t, y: tf.cast(y, tf.complex64) * 1j, 0.0, tf.ones([2]), [1.0]
        )
