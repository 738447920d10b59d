# SPDX-License-Identifier: Apache-2.0
"""Tolerances of each component, and of each element of one."""

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import solvers
from homoode_tf.layers import NeuralODE
from tests.layers.vector_fields import DenseDynamics

controls = pytest.mark.parametrize("step_control", solvers.STEP_CONTROLS)
START = tf.constant([[1.0, 1e6], [0.5, 2e6]], tf.float64)


def field(t, y):
    return tf.stack([tf.cos(3.0 * y[..., 0]), -0.1 * y[..., 1]], -1)


def parts(t, z):
    return {"a": tf.cos(3.0 * z["a"]), "b": -0.1 * z["b"]}


@controls
@pytest.mark.parametrize("mode", solvers.GRADIENTS)
def test_an_array_is_the_components_one_by_one(mode, step_control):
    """The same steps, values and gradients by a nested state and by one array."""

    def solve(fn, start, atol):
        solver = solvers.get(
            "dopri5", rtol=1e-9, atol=atol, gradient=mode, step_control=step_control
        )
        with tf.GradientTape() as tape:
            tape.watch(START)
            results = solver.solve(fn, 0.0, start(), [2.0])
            loss = tf.reduce_sum(tf.nest.flatten(results.states)[0][..., 0])
        return results.diagnostics.num_ode_fn_evaluations, tape.gradient(loss, START)

    split = lambda: {"a": START[:, :1], "b": START[:, 1:]}  # noqa: E731
    by_array = solve(field, lambda: START, np.array([1e-8, 10.0]))
    by_dict = solve(parts, split, {"b": 10.0, "a": np.array([1e-8])})
    assert int(by_array[0]) == int(by_dict[0])
    np.testing.assert_allclose(by_array[1][:, 0], by_dict[1][:, 0], rtol=1e-4)
    tight = solve(field, lambda: START, 1e-8)
    assert int(tight[0]) >= int(by_array[0])


def test_each_element_is_held_to_its_own():
    errors = []
    exact = solvers.get("dop853", rtol=1e-12, atol=1e-12, gradient="backprop")
    solve = tf.function(lambda solver: solver.solve(field, 0.0, START, [2.0]).states[0])
    for atol in ([1e-9, 1e3], [1e-2, 1e3]):
        solver = solvers.get("bosh3", rtol=1e-12, atol=atol, gradient="backprop")
        errors.append(float(tf.reduce_max(tf.abs(solve(solver) - solve(exact))[:, 0])))
    assert errors[0] < 1e-7 < errors[1]


@pytest.mark.parametrize(
    ("atol", "message"),
    [
        ([1e-3, 0.0], r"atol\[1\] must be a number above 0, got 0.0"),
        ([1e-3] * 3, "atol must broadcast to the shape .* got an array of shape"),
        ([[1e-3], 1e-3], "atol must broadcast to the shape"),
        ("tight", "atol must be a number"),
    ],
)
def test_refuses_what_fits_no_state(atol, message):
    with pytest.raises(ValueError, match=message):
        solvers.get("dopri5", atol=atol).solve(field, 0.0, START, [1.0])
    state = {"a": START[:, :1], "b": START[:, 1:]}
    with pytest.raises(ValueError, match="one entry for each of the state's 2 components, got 3"):
        solvers.get("dopri5", atol=(1.0, 1.0, 1.0)).solve(parts, 0.0, state, [1.0])


def test_a_layer_saves_them():
    layer = NeuralODE(DenseDynamics(2), atol=np.array([1e-3, 1e-5]))
    again = type(layer).from_config(layer.get_config())
    assert again.solver.settings.atol == (1e-3, 1e-5)
    assert again.solver.settings.adjoint_atol == pytest.approx((1e-2, 1e-4))
