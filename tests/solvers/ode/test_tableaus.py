# SPDX-License-Identifier: Apache-2.0
"""The coefficients are consistent, known, and wrong ones are refused."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import RK23, RK45
from scipy.integrate._ivp import dop853_coefficients

from homoode_tf.solvers.ode import tableaus

ALL = [t for t in vars(tableaus).values() if isinstance(t, tableaus.ButcherTableau)]
by_name = pytest.mark.parametrize("tableau", ALL, ids=lambda t: t.name)


def matrix(tableau):
    a = np.zeros((tableau.num_stages, tableau.num_stages))
    for i, row in enumerate(tableau.a, start=1):
        a[i, :i] = row
    return a


@by_name
def test_conditions_of_order_five(tableau):
    """The conditions of Butcher's trees up to order five that are not mere quadrature."""
    a, b, c = matrix(tableau), np.array(tableau.b), np.array(tableau.c)
    conditions = {
        3: [(b @ a @ c, 1 / 6)],
        4: [(b * c @ a @ c, 1 / 8), (b @ a @ c**2, 1 / 12), (b @ a @ a @ c, 1 / 24)],
        5: [
            (b * c**2 @ a @ c, 1 / 10),
            (b @ (a @ c) ** 2, 1 / 20),
            (b * c @ a @ c**2, 1 / 15),
            (b @ a @ c**3, 1 / 20),
            (b * c @ a @ a @ c, 1 / 30),
            (b @ a @ (c * (a @ c)), 1 / 40),
            (b @ a @ a @ c**2, 1 / 60),
            (b @ a @ a @ a @ c, 1 / 120),
        ],
    }
    for order, pairs in conditions.items():
        if tableau.order >= order:
            for value, expected in pairs:
                np.testing.assert_allclose(value, expected, atol=1e-13)


@by_name
def test_row_sums_are_the_times(tableau):
    np.testing.assert_allclose(matrix(tableau).sum(1), tableau.c, atol=1e-13)


@by_name
@pytest.mark.parametrize("theta", [0.0, 0.3, 0.8, 1.0])
def test_interpolation_is_exact_for_straight_lines(tableau, theta):
    assert sum(tableau.weights(theta)) == pytest.approx(theta, abs=1e-12)


def test_first_same_as_last_is_recognised():
    assert [t.name for t in ALL if t.fsal] == ["bosh3", "dopri5", "tsit5"]


@pytest.mark.parametrize(
    ("tableau", "scipy"),
    [(tableaus.BOGACKI_SHAMPINE, RK23), (tableaus.DORMAND_PRINCE, RK45)],
    ids=["bosh3", "dopri5"],
)
def test_agrees_with_scipy(tableau, scipy):
    np.testing.assert_allclose(matrix(tableau)[:-1, : scipy.A.shape[1]], scipy.A, atol=1e-15)
    np.testing.assert_allclose(tableau.b[:-1], scipy.B, atol=1e-15)
    np.testing.assert_allclose(np.abs(tableau.error[0]), np.abs(scipy.E), atol=1e-15)
    for theta in (0.2, 0.7):
        powers = theta ** np.arange(1, scipy.P.shape[1] + 1)
        np.testing.assert_allclose(tableau.weights(theta), scipy.P @ powers, atol=1e-14)


def test_order_eight_agrees_with_scipy():
    tableau, known = tableaus.DORMAND_PRINCE_8, dop853_coefficients
    np.testing.assert_array_equal(matrix(tableau), known.A[:12, :12])
    np.testing.assert_array_equal(tableau.b, known.B)
    np.testing.assert_array_equal(tableau.error, [known.E5[:12], known.E3[:12]])
    np.testing.assert_allclose(tableau.c, known.C[:12], atol=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": 0}, "order must be at least 1, got 0"),
        ({"order": 3}, r"sum of b_i c_i\^2 must be 0.333333 for order 3, got 0.5"),
        ({"b": (0.5, 0.6)}, r"sum of b_i c_i\^0 must be 1"),
        ({"a": ((1.0, 0.0),)}, "row 1 of a must have 1 entries"),
        ({"a": ()}, "a must have 1 rows for 2 weights b, got 0"),
        ({"error": ((0.5,),)}, "a row of error must have 2 entries, got 1"),
        ({"error": ((0.5, 0.5),)}, r"sum of error_i c_i\^0 must be 0"),
        ({"error_order": 0}, "error_order must be positive"),
        ({"interpolation": ((1.0,),)}, "interpolation must have 3 rows, got 1"),
        ({"interpolation": ((1.0,), (1.0,), (0.0,))}, "theta = 1"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tableaus.HEUN_EULER, **{"interpolation": None, **change})
