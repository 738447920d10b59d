# SPDX-License-Identifier: Apache-2.0
"""Vector fields with what is known about their solutions."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy.integrate import solve_ivp


@dataclasses.dataclass(frozen=True)
class Problem:
    """z' = field(t, z), z(0) = start, on [0, end].

    `field` computes with the module it is given (NumPy or TensorFlow), so that every solver
    sees the same formula. `exact` gives the solution where there is a formula.
    """

    name: str
    field: Callable
    start: np.ndarray
    end: float
    exact: Callable[[float], np.ndarray] | None = None

    def tf_field(self, time, state):
        return self.field(tf, time, state)

    def np_field(self, time, state):
        return self.field(np, time, state)

    @property
    def tf_start(self) -> tf.Tensor:
        return tf.constant(self.start, tf.float64)

    def reference(self, end: float | None = None) -> np.ndarray:
        """The solution at `end`: exact, or by SciPy's DOP853 at tolerance 1e-12."""
        end = self.end if end is None else end
        if self.exact is not None:
            return self.exact(end)
        result = solve_ivp(
            self.np_field, (0.0, end), self.start, method="DOP853", rtol=1e-12, atol=1e-13
        )
        return result.y[:, -1]


def _lotka_volterra(m, _, z):
    return m.stack([1.5 * z[0] - z[0] * z[1], z[0] * z[1] - 3.0 * z[1]])


def _arenstorf(m, _, z):
    mass = 0.012277471
    rest = 1.0 - mass
    x, y, u, v = z[0], z[1], z[2], z[3]
    first = ((x + mass) ** 2 + y**2) ** 1.5
    second = ((x - rest) ** 2 + y**2) ** 1.5
    return m.stack(
        [
            u,
            v,
            x + 2.0 * v - rest * (x + mass) / first - mass * (x - rest) / second,
            y - 2.0 * u - rest * y / first - mass * y / second,
        ]
    )


def _van_der_pol(m, _, z):
    return m.stack([z[1], (1.0 - z[0] ** 2) * z[1] - z[0]])


_RANDOM = np.random.RandomState(0).randn(100, 100)
_MATRIX = (_RANDOM - _RANDOM.T) / 10.0 - 0.1 * np.eye(100)


def _linear(m, _, z):
    return m.linalg.matvec(_MATRIX, z) if m is tf else _MATRIX @ z


def _linear_exact(time):
    values, vectors = np.linalg.eig(_MATRIX)
    start = np.linalg.solve(vectors, np.ones(100))
    return (vectors @ (np.exp(values * time) * start)).real


def _forced(m, t, z):
    return -z * m.cos(t) + m.cos(t) * m.exp(-m.sin(t))


def _oscillator(m, _, z):
    return m.stack([z[1], -z[0]])


def _chirp(m, t, z):
    return (1.0 + t / 4.0) * m.stack([z[1], -z[0]])


def _circle(phase):
    return np.array([np.cos(phase), -np.sin(phase)])


# The leading error term of these two dominates from large steps on, for every method.
OSCILLATOR = Problem("oscillator", _oscillator, np.array([1.0, 0.0]), 6.0, _circle)
CHIRP = Problem("chirp", _chirp, np.array([1.0, 0.0]), 4.0, lambda t: _circle(t + t * t / 8.0))
LOTKA_VOLTERRA = Problem("lotka_volterra", _lotka_volterra, np.array([1.0, 1.0]), 5.0)
# A quarter of the period: over a whole one the orbit amplifies errors ten thousand times, and no
# solver at tolerance 1e-8, SciPy's included, ends within 1e-6.
ARENSTORF = Problem(
    "arenstorf",
    _arenstorf,
    np.array([0.994, 0.0, 0.0, -2.00158510637908252240537862224]),
    17.0652165601579625588917206249 / 4,
)
VAN_DER_POL = Problem("van_der_pol", _van_der_pol, np.array([2.0, 0.0]), 5.0)
LINEAR = Problem("linear", _linear, np.ones(100), 1.0, _linear_exact)
# z(t) = (z0 + sin t) exp(-sin t): depends on time, which tests the stages' times.
FORCED = Problem(
    "forced",
    _forced,
    np.array([0.5, -1.0]),
    2.0,
    lambda t: (np.array([0.5, -1.0]) + np.sin(t)) * np.exp(-np.sin(t)),
)

HARD = (LOTKA_VOLTERRA, ARENSTORF, VAN_DER_POL, LINEAR)
ALL = (*HARD, FORCED)
