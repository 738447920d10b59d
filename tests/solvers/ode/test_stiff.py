# SPDX-License-Identifier: Apache-2.0
"""The solver for stiff problems, by its name, against SciPy's Radau."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import solve_ivp

from homoode_tf import solvers
from homoode_tf.layers import NeuralODE
from homoode_tf.solvers import SolverError
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
        pytest.param(brusselator, WAVE, 0.5, {"lband": 2, "uband": 2}, marks=pytest.mark.slow),
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


def test_its_adjoint_against_finite_differences():
    """Of a mildly stiff problem: backwards, a decay of 20 grows, and a stronger one explodes."""
    solver = solvers.get("bdf", rtol=1e-7, atol=1e-9)

    @tf.function
    def last(rate):
        with tf.GradientTape() as tape:
            tape.watch(rate)
            state = solver.solve(
                lambda t, y, rate: rate * (tf.cos(t) - y),
                0.0,
                tf.constant([2.0], tf.float64),
                [0.3],
                constants={"rate": rate},
            ).states[0, 0]
        return state, tape.gradient(state, rate)

    value = lambda rate: float(last(tf.constant(rate, tf.float64))[0])  # noqa: E731
    slope = (value(20.2) - value(19.8)) / 0.4
    np.testing.assert_allclose(last(tf.constant(20.0, tf.float64))[1], slope, rtol=1e-3)


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
    explicit = NeuralODE(layer.dynamics, "dopri5", rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found, explicit(x), atol=1e-3)
    again = NeuralODE.from_config(layer.get_config())
    assert type(again.solver) is type(layer.solver)
    with pytest.raises(ValueError, match="bdf: .*'gradient'"):
        NeuralODE(DenseDynamics(2), "bdf", gradient="checkpoint")
