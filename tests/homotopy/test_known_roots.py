# SPDX-License-Identifier: Apache-2.0
"""Paths lead to known zeroes, point by point."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

from homoode_tf import homotopy
from homoode_tf.homotopy import PathStatus
from tests.homotopy.systems import HOMOTOPIES, JACOBIANS, SYSTEMS, root_mean_square, t

CASES = [(s, h, j) for s in SYSTEMS for h in s.homotopies for j in JACOBIANS]
every_case = pytest.mark.parametrize(("system", "name", "jacobian"), CASES, ids=str)


@functools.lru_cache
def solved(system, name, jacobian):
    return homotopy.trace(system.residual, t(system.start), homotopy=name, jacobian=jacobian)


@every_case
def test_finds_a_known_root(system, name, jacobian):
    path = solved(system, name, jacobian)
    assert path.success and path.status == 0
    errors = abs(system.roots() - path.state.numpy()).max(axis=1)
    assert errors.min() < system.accuracy
    residual = root_mean_square(system.residual(path.state))
    assert residual < 1e-9
    assert path.residual_norm == pytest.approx(residual, rel=1e-3, abs=1e-14)


@every_case
def test_every_point_is_on_the_path(system, name, jacobian):
    path = solved(system, name, jacobian)
    start = t(system.start)
    scale = root_mean_square(system.residual(start))
    for state, parameter in zip(path.states, path.lambdas, strict=True):
        if name == "newton":
            value = system.residual(state) - (1.0 - parameter) * system.residual(start)
        else:
            value = parameter * system.residual(state) + (1.0 - parameter) * (state - start)
        assert root_mean_square(value) < 2e-8 * scale


@every_case
def test_leads_from_the_initial_point_to_lambda_one(system, name, jacobian):
    path = solved(system, name, jacobian)
    assert path.states.shape == [len(path.lambdas), len(system.start)]
    np.testing.assert_array_equal(path.states[0], system.start)
    np.testing.assert_array_equal(path.states[-1], path.state)
    assert path.lambdas[0] == 0.0 and path.lambdas[-1] == 1.0 and path.lambdas[1] > 0.0
    # Steps of arc length, never backwards: at least the chords.
    steps, chords = np.diff(path.arc_lengths), []
    for i in range(len(steps)):
        change = path.states[i + 1] - path.states[i]
        chords.append(np.hypot(root_mean_square(change), path.lambdas[i + 1] - path.lambdas[i]))
    assert path.arc_lengths[0] == 0.0 and (steps > 0.999999 * np.array(chords)).all()
    assert (steps < 1.02 * np.array(chords)).all()


@every_case
def test_bends_are_resolved(system, name, jacobian):
    path = solved(system, name, jacobian)
    scale = np.sqrt(len(system.start))
    points = np.column_stack([path.states / scale, path.lambdas])
    chords = np.diff(points, axis=0)[:-1]
    chords /= np.linalg.norm(chords, axis=1, keepdims=True)
    # Of two arcs that turn by at most 0.6 each, the chords differ by at most that.
    assert (np.sum(chords[1:] * chords[:-1], axis=1) > np.cos(0.65)).all()


@every_case
def test_counts_are_of_the_mode(system, name, jacobian):
    path = solved(system, name, jacobian)
    assert len(path.lambdas) - 1 <= path.num_steps <= 1000
    if jacobian == "dense":
        assert path.num_jacobian_evaluations == path.num_evaluations > path.num_steps
        assert path.num_jacobian_products == 0
    else:
        assert path.num_jacobian_products > path.num_evaluations > path.num_steps
        assert path.num_jacobian_evaluations == 0


# Two roots so close that a step leads from before the first to behind the second, with a fold just
# beyond lambda = 1 between them: each by its formula and by NumPy or SciPy.
def _parabola(gap):
    return lambda z: z**2 - 0.25 * gap**2, np.roots([1.0, 0.0, -0.25 * gap**2])


def _quartic(gap):
    coefficients = np.poly([0.5, 0.5 + gap, -2.0 + 1.0j, -2.0 - 1.0j]).real
    roots = np.roots(coefficients)
    return lambda z: functools.reduce(lambda p, c: p * z + c, coefficients, 0.0 * z), roots[
        abs(roots.imag) < 1e-9
    ].real


def _catenary(gap):
    function = lambda z: np.cosh(z) - np.cosh(0.5 * gap)  # noqa: E731
    return (
        lambda z: tf.cosh(z) - np.cosh(0.5 * gap),
        [optimize.brentq(function, *ends, xtol=1e-14) for ends in ((-3.0, 0.0), (0.0, 3.0))],
    )


def _system(gap):
    """The second component follows the first; a root is the same number twice."""
    residual = lambda z: [z[0] ** 2 - 0.25 * gap**2 + 0.3 * (z[1] - z[0]), z[1] - z[0]]  # noqa: E731
    guesses = ([-gap, -gap], [gap, gap])
    roots = [optimize.fsolve(residual, guess, xtol=1e-14)[0] for guess in guesses]
    return lambda z: tf.stack(residual(z)), roots


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", HOMOTOPIES)
@pytest.mark.parametrize("gap", [0.2, 0.0632, 0.02])
@pytest.mark.parametrize("pair", [_parabola, _quartic, _catenary, _system])
def test_a_pair_of_roots_closer_than_a_step_is_not_passed_by(pair, gap, name, dtype):
    residual, roots = pair(gap)
    start = tf.fill([2 if pair is _system else 1], tf.constant(3.0, dtype))
    path = homotopy.trace(residual, start, homotopy=name)
    error = min(abs(root - path.state.numpy()).max() for root in roots)
    # Of a double root float32 has but the square root of its digits.
    assert error < (1e-6 if dtype == "float64" else 0.05)
    assert path.num_steps < 60 and max(path.lambdas) == path.lambdas[-1] == 1.0


@pytest.mark.parametrize("name", HOMOTOPIES)
@pytest.mark.parametrize("missing", [1e-6, 1e-4, 1e-2])
def test_a_path_that_turns_just_below_one_is_not_taken_for_a_root(missing, name):
    path = homotopy.trace(
        lambda z: z**2 + missing, t([3.0]), homotopy=name, max_num_steps=60, on_failure="return"
    )
    assert path.status in (PathStatus.MAX_NUM_STEPS, PathStatus.DIVERGED)
    assert max(path.lambdas) < 1.0 and path.state[0] < -1.0
