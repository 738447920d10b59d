# SPDX-License-Identifier: Apache-2.0
"""Solves that are followed, against solutions known in closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.layers import HomoODE
from homoode_tf.plot import follow
from tests.layers.vector_fields import DenseDynamics, LinearDynamics, TimedDynamics

RATE, FINAL_TIME = 0.75, 2.0
TIGHT = {"rtol": 1e-6, "atol": 1e-6}
SOLVERS = {
    "dopri5": solvers.get("dopri5", **TIGHT),
    "bosh3_adjoint": solvers.get("bosh3", **TIGHT),
    "tsit5_checkpoint": solvers.get("tsit5", gradient="checkpoint", **TIGHT),
    "tsit5_sample": solvers.get("tsit5", step_control="sample", **TIGHT),
    "dop853": solvers.get("dop853", **TIGHT),
    "rk4_num_steps": solvers.get("rk4", num_steps=16),
    "rk4_step_size": solvers.get("rk4", step_size=0.15),
    "tfp_dopri": tfp.math.ode.DormandPrince(**TIGHT),
    "tfp_bdf": tfp.math.ode.BDF(rtol=1e-3, atol=1e-3),
}


def random(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def exact_state(x, times):
    """z(t) of z' = RATE z + x from the alternating start."""
    start = np.where(np.arange(x.shape[-1]) % 2, 1.0, -1.0)
    growth = np.exp(RATE * times).reshape(-1, *[1] * x.ndim)
    return growth * (start + x / RATE) - x / RATE


def check_linear(trajectory, x, tolerance):
    states = exact_state(x, trajectory.times)
    np.testing.assert_allclose(trajectory.states, states, atol=tolerance)
    derivatives = (RATE * states + x).reshape(*states.shape[:2], -1)
    residuals = np.sqrt((derivatives**2).mean(axis=-1))
    np.testing.assert_allclose(trajectory.residuals, residuals, atol=tolerance)


@pytest.mark.parametrize("name", SOLVERS)
def test_linear_dynamics_in_closed_form(name):
    layer = HomoODE(
        LinearDynamics(RATE), SOLVERS[name], final_time=FINAL_TIME, initial_point="alternating"
    )
    x = random(2, 3, 1, 2)
    solve = follow(layer, x)
    tolerance = 0.1 if name == "tfp_bdf" else 3e-4
    for trajectory in (solve.steps, solve.curve):
        assert trajectory.times[0] == 0 and trajectory.times[-1] == FINAL_TIME
        check_linear(trajectory, x.numpy().astype(np.float64), tolerance)
    without_interpolation = name in ("dop853", "tfp_bdf")
    assert len(solve.curve.times) == (len(solve.steps.times) if without_interpolation else 33)
    assert (solve.step_sizes > 0).all()
    assert solve.step_sizes.sum() == pytest.approx(FINAL_TIME)
    assert solve.shares_start
    if name.startswith("rk4"):
        np.testing.assert_allclose(solve.step_sizes[:-1], 0.125 if "num" in name else 0.15, 1e-5)
    # The layer is as it was, and its own solve is the one that was followed.
    assert layer.solver is SOLVERS[name]
    if name != "tsit5_sample":
        np.testing.assert_allclose(layer(x), solve.steps.states[-1], atol=1e-4)
    if isinstance(SOLVERS[name], solvers.RungeKutta) and name != "tsit5_sample":
        assert int(layer.forward_nfe) == solve.num_evaluations


def test_time_reaches_the_dynamics():
    layer = HomoODE(TimedDynamics(), final_time=FINAL_TIME, initial_point="zeros")
    x = random(3, 4)
    trajectory = follow(layer, x).curve
    size = np.sqrt((x.numpy() ** 2).mean(axis=-1))
    np.testing.assert_allclose(trajectory.residuals, np.outer(trajectory.times, size), atol=1e-5)


def test_begins_with_the_step_that_training_found():
    layer = HomoODE(LinearDynamics(RATE), final_time=FINAL_TIME)
    x = random(2, 4)
    layer(x)
    layer.step_size.assign(0.125)
    assert follow(layer, x).step_sizes[0] == 0.125


def test_a_layer_inside_a_model():
    layer = HomoODE(DenseDynamics(4))
    model = keras.Sequential([keras.layers.Dense(4), layer, keras.layers.Dense(1)])
    x = random(3, 2)
    expected = model(x)
    solve = follow(layer, model.layers[0](x))
    np.testing.assert_allclose(model.layers[2](solve.steps.states[-1]), expected, rtol=1e-5)


def test_mean_states_are_means_over_positions():
    x = random(2, 3, 5, 4)
    steps = follow(HomoODE(LinearDynamics(RATE)), x).steps
    np.testing.assert_allclose(
        steps.mean_states[-1], tf.reduce_mean(steps.states[-1], axis=[1, 2]), rtol=1e-5
    )
    steps = follow(HomoODE(LinearDynamics(RATE)), random(2, 4)).steps
    np.testing.assert_array_equal(steps.mean_states, steps.states)


def test_starts_that_differ_are_not_shared():
    layer = HomoODE(LinearDynamics(RATE), initial_point=keras.layers.Identity())
    assert not follow(layer, random(2, 4)).shares_start


def test_errors():
    x = random(2, 4)
    with pytest.raises(TypeError, match="must be an ODELayer, got a Dense"):
        follow(keras.layers.Dense(4), x)
    layer = HomoODE(LinearDynamics(RATE))
    with pytest.raises(ValueError, match="num_times must be at least 2, got 1"):
        follow(layer, x, num_times=1)
    with pytest.raises(solvers.SolverError, match="not finite"):
        follow(layer, x + np.inf)
