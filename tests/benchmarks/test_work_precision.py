# SPDX-License-Identifier: Apache-2.0
"""The problems of the work-precision diagram, and how it is read."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from benchmarks import ode_problems, work_precision


@pytest.mark.parametrize("problem", ode_problems.PROBLEMS, ids=lambda problem: problem.name)
def test_the_solution_known_solves_the_problem(problem):
    result = solve_ivp(
        lambda t, z: problem.field(np, t, z),
        (0.0, problem.end),
        problem.start,
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
    )
    assert problem.error(result.y[:, -1]) < 1e-10


def _points(*errors):
    return [{"error": e, "evaluations": 10.0 * 2**k} for k, e in enumerate(errors)]


def test_cost_between_two_points_is_a_line_in_logarithms():
    cost = work_precision.cost_at(_points(1e-2, 1e-4), 1e-3, "evaluations")
    assert cost == pytest.approx(10.0 * np.sqrt(2.0))


def test_cost_of_an_error_that_is_never_reached():
    assert work_precision.cost_at(_points(1e-2, 1e-4), 1e-5, "evaluations") is None


def test_cost_where_the_first_point_is_exact_enough():
    assert work_precision.cost_at(_points(1e-5, 1e-6), 1e-3, "evaluations") == 10.0
