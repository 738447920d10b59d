# SPDX-License-Identifier: Apache-2.0
"""The solver for stiff problems, by its name, against SciPy's Radau."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.integrate import solve_ivp

from homoode_tf import solvers
from homoode_tf.layers import NeuralODE
from homoode_tf.solvers import SolverError
from tests import slow
from tests.layers.vector_fields import DenseDynamics

WIDTH = 250


def robertson(m, t, y, rate=3e7):
    first, second, third = 0.04 * y[0], 1e4 * y[1] * y[2], rate * y[1] ** 2
    return m.stack([second - first, first - second - third, third])


def van_der_pol(m, t, y):
    return m.stack([y[1], 1000.0 * (1.0 - y[0] ** 2) * y[1] - y[0]])


def brusselator(m, t, y):
    """Reaction and diffusion of two substances at 250 places; neighbours lie side by side."""
    y = m.reshape(y, [WIDTH, 2])
    u, v = y[:, 0], y[:, 1]
    concat = np.concatenate if m is np else tf.concat
    wide = concat([y[:1], y, y[-1:]], 0)
    spread = 0.02 / 25.0 * WIDTH**2 * (wide[2:] - 2.0 * wide[1:-1] + wide[:-2])
    reaction = m.stack([1.0 + u * u * v - 4.0 * u, 3.0 * u - u * u * v], 1)
    return m.reshape(reaction + spread, [-1])


PLACES = np.linspace(0.0, 1.0, WIDTH)
WAVE = np.stack([1.0 + np.sin(2.0 * np.pi * PLACES), 3.0 + 0.0 * PLACES], 1).ravel()


@pytest.mark.parametrize(
    ("field", "start", "end", "options"),
    [
        (robertson, np.array([1.0, 0.0, 0.0]), 1e4, {}),
        (van_der_pol, np.array([2.0, 0.0]), 1000.0, {}),
        slow(brusselator, WAVE, 0.5, {"lband": 2, "uband": 2}),
    ],
    ids=["robertson", "van_der_pol", "reaction_diffusion"],
)
def test_against_radau(field, start, end, options):
    solver = solvers.get("bdf", rtol=1e-6, atol=1e-9)
    solve = tf.function(lambda y: solver.solve(lambda t, y: field(tf, t, y), 0.0, y, [end]))
    results = solve(tf.constant(start))
    # Few steps, where an explicit method takes tens of thousands.
    assert int(results.diagnostics.num_ode_fn_evaluations) < 1500
    right = solve_ivp(
        lambda t, y: field(np, t, y), (0.0, end), start, "Radau", rtol=1e-8, atol=1e-11, **options
    )
    np.testing.assert_allclose(results.states[0], right.y[:, -1], rtol=1e-4, atol=1e-5)


RATES = np.array([0.04, 1e4, 3e7])


def with_rates(m, y, rates):
    first, second, third = rates[0] * y[0], rates[1] * y[1] * y[2], rates[2] * y[1] ** 2
    return m.stack([second - first, first - second - third, third])


def oscillator(m, y, stiffness):
    return m.stack([y[1], stiffness[0] * (1.0 - y[0] ** 2) * y[1] - y[0]])


@pytest.mark.parametrize(
    ("field", "constants", "start", "end"),
    [
        (with_rates, RATES, [1.0, 0.0, 0.0], 40.0),
        slow(with_rates, RATES, [1.0, 0.0, 0.0], 1e4),
        slow(oscillator, np.array([1000.0]), [2.0, 0.0], 500.0),
    ],
    ids=["robertson to 40", "robertson to 1e4", "van_der_pol"],
)
def test_gradients_are_those_of_radau(field, constants, start, end):
    """By constants and start, against finite differences of SciPy's."""
    solver = solvers.get("bdf", rtol=1e-6, atol=1e-9)
    weights = np.array([1.0, 1e4, 0.3])[: len(start)]

    @tf.function(autograph=False)
    def gradients(constants, start):
        with tf.GradientTape() as tape:
            tape.watch([constants, start])
            ode_fn = lambda t, y, constants: field(tf, y, constants)  # noqa: E731
            given = {"constants": constants}
            states = solver.solve(ode_fn, 0.0, start, [end], constants=given).states
            loss = tf.reduce_sum(states * weights)
        return tape.gradient(loss, [constants, start])

    def loss(constants, start):
        solution = solve_ivp(
            lambda t, y: field(np, y, constants), (0, end), start, "Radau", rtol=1e-11, atol=1e-14
        )
        return float(np.sum(solution.y[:, -1] * weights))

    start = np.array(start)
    by_constants, by_start = gradients(tf.constant(constants), tf.constant(start))
    for index, constant in enumerate(constants):
        step = np.zeros_like(constants)
        step[index] = 1e-3 * constant
        slope = (loss(constants + step, start) - loss(constants - step, start)) / 2e-3 / constant
        np.testing.assert_allclose(by_constants[index], slope, rtol=1e-4)
    step = np.zeros_like(start)
    step[0] = 1e-3
    slope = (loss(constants, start + step) - loss(constants, start - step)) / 2e-3
    np.testing.assert_allclose(by_start[0], slope, rtol=1e-4)


RATE = tf.Variable(50.0, dtype=tf.float64)


def relaxation(rate, time, start):
    """Of y' = rate (cos t - y): the solution from t = 0.3 on."""
    particular = lambda t: rate * (rate * tf.cos(t) + tf.sin(t)) / (1.0 + rate**2)  # noqa: E731
    return particular(time) + (start - particular(tf.constant(0.3, tf.float64))) * tf.exp(
        -rate * (time - 0.3)
    )


@pytest.mark.parametrize("times", [[0.29, 0.2], slow([0.31, 0.5, 2.3]), slow("every step")])
def test_gradients_by_everything(times):
    """By the start, a variable and the times, in each direction of time, eagerly as well."""
    solver = solvers.get("bdf", rtol=1e-8, atol=1e-10)
    start = tf.constant([[2.0], [-1.0]], tf.float64)
    asked = tf.constant([0.4] if times == "every step" else times, tf.float64)

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([start, asked])
            given = tfp.math.ode.ChosenBySolver(asked[0]) if times == "every step" else asked
            results = solver.solve(lambda t, y: RATE * (tf.cos(t) - y), 0.3, start, given)
            states = results.states[-1:] if times == "every step" else results.states
            loss = tf.reduce_sum(states**2)
        return states, tape.gradient(loss, [start, RATE, asked])

    with tf.GradientTape() as tape:
        tape.watch([start, asked])
        right = relaxation(RATE, asked[:, None, None], start)
        loss = tf.reduce_sum(right**2)
    expected = tape.gradient(loss, [start, RATE, asked])
    for run in (gradients, tf.function(gradients, autograph=False)):
        states, found = run()
        np.testing.assert_allclose(states, right, rtol=1e-5)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_second_derivatives_are_refused():
    x = tf.constant([0.3, -0.2])

    def gradient():
        with tf.GradientTape() as tape:
            tape.watch(x)
            states = solvers.get("bdf").solve(lambda t, y: -y * y, 0.0, x, [1.0]).states
        return tape.gradient(states, x)

    with tf.GradientTape() as tape:
        tape.watch(x)
        found = gradient()
    with pytest.raises(NotImplementedError, match="no second derivatives; take an explicit"):
        tape.gradient(found, x)


@pytest.mark.slow
def test_a_gradient_within_a_persistent_tape_is_refused():
    rate = tf.Variable(0.5)
    x = tf.constant([0.3, -0.2])
    with tf.GradientTape() as tape:
        states = solvers.get("bdf").solve(lambda t, y: -rate * y, 0.0, x, [1.0]).states
    with (
        tf.GradientTape(persistent=True),
        pytest.raises(NotImplementedError, match="bdf .* under a persistent tape"),
    ):
        tape.gradient(states, rate)


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        ([0.5, 0.2], ValueError, "must be finite and increase"),
        (tf.constant([0.5, 0.2]), ValueError, "must be finite and increase"),
    ],
)
def test_refuses_times_out_of_order(times, error, message):
    with pytest.raises(error, match=message):
        solvers.get("bdf").solve(lambda t, y: -y, 0.0, tf.ones([2]), times)


@pytest.mark.parametrize("settings", [{"max_num_steps": 50}, {"rtol": 1e-6, "atol": 1e-9}])
def test_the_explicit_ones_name_it(settings):
    solver = solvers.get("dopri5", **{"max_num_steps": 200, **settings})
    with pytest.raises(SolverError, match="use 'bdf', the solver for stiff problems"):
        solver.solve(
            lambda t, y: robertson(tf, t, y), 0.0, tf.constant([1.0, 0.0, 0.0], tf.float64), [1e4]
        )


def test_a_layer_takes_the_name_and_saves_it():
    layer = NeuralODE(DenseDynamics(2), "bdf", rtol=1e-5)
    x = tf.constant([[0.3, -0.2]])
    with tf.GradientTape() as tape:
        found = layer(x)
        loss = tf.reduce_sum(found)
    assert all(g is not None for g in tape.gradient(loss, layer.trainable_variables))
    assert int(layer.backward_nfe) > 0
    explicit = NeuralODE(layer.dynamics, "dopri5", rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found, explicit(x), atol=1e-3)
    again = NeuralODE.from_config(layer.get_config())
    assert type(again.solver) is type(layer.solver)
    with pytest.raises(ValueError, match="bdf: .*'gradient'"):
        NeuralODE(DenseDynamics(2), "bdf", gradient="checkpoint")


def test_constants_without_a_gradient():
    """A mask chooses the rate, an integer a row; the state's gradient is there all the same."""
    given = {"mask": tf.constant([True, False]), "row": tf.constant(1)}
    state = tf.ones([2], tf.float64)
    rates = tf.constant([1.0, 2.0], tf.float64)
    solver = solvers.get("bdf", rtol=1e-6, atol=1e-8)

    def field(t, y, mask, row):
        return tf.where(mask, -y, -rates[row] * y)

    with tf.GradientTape() as tape:
        tape.watch(state)
        states = solver.solve(field, 0.0, state, [1.0], constants=given).states
    np.testing.assert_allclose(tape.gradient(states, state), np.exp([-1.0, -2.0]), rtol=1e-4)


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"jacobian_fn": lambda t, y: -tf.eye(1)}, {"batch_ndims": 0}],
    ids=["a Jacobian", "batch_ndims"],
)
def test_what_only_runs_forward_says_so(options, traced):
    """TFP's own solve would hand the initial state back."""

    def solve(end):
        return solvers.get("bdf").solve(lambda t, y: -y, 0.0, tf.ones([1]), [end], **options).states

    if not traced:
        with pytest.raises(ValueError, match="forward in time only"):
            solve(-1.0)
        np.testing.assert_allclose(solve(1.0)[0, 0], np.exp(-1.0), rtol=1e-2)
        return
    compiled = tf.function(solve)
    with pytest.raises(tf.errors.InvalidArgumentError, match="forward in time only"):
        compiled(tf.constant(-1.0))


def test_a_shape_that_a_graph_does_not_know_is_refused():
    solver = solvers.get("bdf")
    call = tf.function(lambda y: solver.solve(lambda t, y: -y, 0.0, y, [1.0]).states)
    with pytest.raises(ValueError, match="needs one of a known shape .*drop_remainder=True"):
        call.get_concrete_function(tf.TensorSpec([None, 2]))
    model = keras.Sequential([keras.Input((2,)), NeuralODE(keras.layers.Dense(2), "bdf")])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="needs one of a known shape"):
        model.fit(np.ones([3, 2]), np.ones([3, 2]), batch_size=2, verbose=0)
