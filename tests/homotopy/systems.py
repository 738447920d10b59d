# SPDX-License-Identifier: Apache-2.0
"""Residuals with their known zeroes, and what all tests of the paths share."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

HOMOTOPIES = ("newton", "fixed_point")
JACOBIANS = ("dense", "matrix_free")
each_jacobian = pytest.mark.parametrize("jacobian", JACOBIANS)
each_method = pytest.mark.parametrize(
    ("name", "jacobian"), list(itertools.product(HOMOTOPIES, JACOBIANS))
)


def t(value):
    return tf.constant(value, tf.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """A residual and what is known of its zeroes."""

    name: str
    residual: Callable[[tf.Tensor], tf.Tensor]
    start: np.ndarray
    roots: Callable[[], np.ndarray]
    # Accuracy of the state; the residual is always below 1e-9.
    accuracy: float = 1e-8
    homotopies: tuple[str, ...] = HOMOTOPIES

    def __str__(self):
        return self.name


def rosenbrock(z):
    return tf.stack([10.0 * (z[..., 1] - z[..., 0] ** 2), 1.0 - z[..., 0]], -1)


def _powell_singular(z):
    first, second = z[0] + 10.0 * z[1], np.sqrt(5.0) * (z[2] - z[3])
    return tf.stack([first, second, (z[1] - 2.0 * z[2]) ** 2, np.sqrt(10.0) * (z[0] - z[3]) ** 2])


def broyden_tridiagonal(z):
    before, after = tf.pad(z[:-1], [[1, 0]]), tf.pad(z[1:], [[0, 1]])
    return (3.0 - 2.0 * z) * z - before - 2.0 * after + 1.0


def _broyden_root():
    """By SciPy, from a formula of its own."""

    def residual(z):
        result = (3.0 - 2.0 * z) * z + 1.0
        result[1:] -= z[:-1]
        result[:-1] -= 2.0 * z[1:]
        return result

    solution = optimize.root(residual, -np.ones(20), tol=1e-14)
    assert solution.success
    return solution.x[None]


def _brown_almost_linear(z):
    return tf.concat([z[:-1] + tf.reduce_sum(z) - (z.shape[0] + 1.0), [tf.reduce_prod(z) - 1.0]], 0)


def _brown_roots(size):
    """(a, ..., a, a^(1 - n)) with n a^n - (n + 1) a^(n - 1) + 1 = 0."""
    values = np.roots([size, -(size + 1.0), *[0.0] * (size - 2), 1.0])
    real = values[abs(values.imag) < 1e-9].real
    return np.stack([np.append(np.full(size - 1, a), a ** (1.0 - size)) for a in real])


def cubic(z):
    return z**3 - 3.0 * z + 3.0


def cubic_root():
    values = np.roots([1.0, 0.0, -3.0, 3.0])
    return values[abs(values.imag) < 1e-9].real[:, None]


SYSTEMS = (
    System("rosenbrock", rosenbrock, [-1.2, 1.0], lambda: np.ones([1, 2])),
    # The Jacobian has rank two at the root: a residual of 1e-10 leaves the state 1e-5 away.
    System(
        "powell_singular",
        _powell_singular,
        [3.0, -1.0, 0.0, 1.0],
        lambda: np.zeros([1, 4]),
        accuracy=1e-4,
        homotopies=("newton",),
    ),
    System("broyden_tridiagonal", broyden_tridiagonal, -np.ones(20), _broyden_root),
    System("brown_5", _brown_almost_linear, np.full(5, 0.5), lambda: _brown_roots(5)),
    System(
        "brown_10",
        _brown_almost_linear,
        np.full(10, 0.5),
        lambda: _brown_roots(10),
        homotopies=("fixed_point",),
    ),
    System("arctan", tf.atan, [3.0], lambda: np.zeros([1, 1])),
    System("cubic", cubic, [2.0], cubic_root),
)


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))
