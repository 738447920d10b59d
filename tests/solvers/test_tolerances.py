# SPDX-License-Identifier: Apache-2.0
"""Tolerances below what the state's dtype resolves are refused at once, with a way out."""

import pytest
import tensorflow as tf

from homoode_tf import layers, solvers
from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers import fixed_point

TINY = {"rtol": 1e-12, "atol": 1e-12}
ONE_TINY = [{"rtol": 1e-12, "atol": 1e-3}, {"rtol": 1e-3, "atol": 1e-12}]


def solve(dtype, **settings):
    solver = solvers.get("dopri5", **settings)
    return solver.solve(lambda t, z: -z, 0.0, tf.ones([2], dtype), [1.0]).states


def iterate(dtype, **settings):
    return fixed_point.get("anderson", **settings).solve(tf.cos, tf.ones([2, 1], dtype)).state


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
@pytest.mark.parametrize(
    "settings", [TINY, {"adjoint_rtol": 1e-12, "adjoint_atol": 1e-12}], ids=["forward", "adjoint"]
)
def test_a_solver_refuses_what_no_step_could_meet(dtype, settings):
    with pytest.raises(
        InvalidValueError, match="at least 7.5e-09.* dtype float32, .*got rtol=1e-12"
    ):
        solve(dtype, **settings)


@pytest.mark.parametrize("settings", ONE_TINY)
def test_one_of_the_tolerances_may_be_that_small(settings):
    assert float(solve("float32", **settings)[0, 0]) == pytest.approx(0.3679, abs=2e-3)
    assert float(iterate("float32", **settings)[0, 0]) == pytest.approx(0.739, abs=2e-3)


def test_a_tolerance_that_short_steps_can_meet_is_allowed():
    states = solve("float32", rtol=1e-8, atol=1e-12)
    assert float(states[0, 0]) == pytest.approx(0.36787944, abs=1e-6)


def test_more_digits_allow_more():
    assert solve("float64", **TINY).dtype == iterate("float64", **TINY).dtype == "float64"


def test_equal_steps_know_no_tolerance():
    assert solve("float32", num_steps=4, **TINY).shape == (1, 2)


def test_a_fixed_point_solver_refuses_them_too():
    with pytest.raises(
        InvalidValueError, match="at least 1.2e-07.* dtype float32, .*got rtol=1e-12"
    ):
        iterate("float32", **TINY)


@pytest.mark.parametrize("kind", [layers.HomoODE, layers.NeuralODE, layers.DEQ])
def test_a_layer_says_so_when_it_is_called(kind):
    layer = kind(layers.ConvDynamics(4, groups=2), **TINY)
    with pytest.raises(InvalidValueError, match="with a state of dtype float32"):
        layer(tf.ones([2, 3, 3, 4]))
