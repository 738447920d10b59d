# SPDX-License-Identifier: Apache-2.0
"""Paths lead to known zeroes, point by point."""

import functools

import numpy as np
import pytest

from homoode_tf import homotopy
from tests.homotopy.systems import JACOBIANS, SYSTEMS, root_mean_square, t

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
