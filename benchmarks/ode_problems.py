# SPDX-License-Identifier: Apache-2.0
"""Smooth, non-stiff problems whose solutions are known by formula."""

import dataclasses
from collections.abc import Callable
from types import ModuleType

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Problem:
    """z' = field(module, t, z), z(0) = start, until `end`.

    Attributes:
        name: For tables and figures.
        field: Computes with NumPy or TensorFlow, whichever module it is given.
        start: z(0), float64.
        end: The final time.
        solution: z(end).
    """

    name: str
    field: Callable[[ModuleType, object, object], object]
    start: np.ndarray
    end: float
    solution: np.ndarray

    def error(self, state: np.ndarray) -> float:
        """Returns |state - solution| / |solution| in the Euclidean norm."""
        return float(np.linalg.norm(state - self.solution) / np.linalg.norm(self.solution))


def _kepler(module, _, z):
    radius_cubed = (z[0] ** 2 + z[1] ** 2) ** 1.5
    return module.stack([z[2], z[3], -z[0] / radius_cubed, -z[1] / radius_cubed])


def _logistic(module, t, z):
    return module.cos(t) * z * (1.0 - z)


def _logistic_solution(start, time):
    growth = np.exp(np.sin(time))
    return start * growth / (1.0 - start + start * growth)


_SIZE = 100
_MIXING = np.random.default_rng(0).normal(size=(_SIZE, _SIZE))
# Rotations, whose eigenvalues are imaginary, and a little decay.
_ROTATION = (_MIXING - _MIXING.T) / 5.0
_LINEAR = _ROTATION - 0.1 * np.eye(_SIZE)


def _linear(module, _, z):
    return tf.linalg.matvec(_LINEAR, z) if module is tf else _LINEAR @ z


def _linear_solution(start, time):
    # A skew-symmetric matrix times i is Hermitian, so its exponential is exact to rounding.
    values, vectors = np.linalg.eigh(1j * _ROTATION)
    rotated = vectors @ (np.exp(-1j * values * time) * (vectors.conj().T @ start))
    return np.exp(-0.1 * time) * rotated.real


def _make(name, field, start, end, solution):
    start = np.asarray(start, np.float64)
    return Problem(name, field, start, float(end), solution(start, float(end)))


_ECCENTRICITY = 0.5
PROBLEMS = (
    # One revolution from the pericentre: the body returns to where it started.
    _make(
        "Kepler orbit, e = 0.5",
        _kepler,
        [
            1.0 - _ECCENTRICITY,
            0.0,
            0.0,
            np.sqrt((1.0 + _ECCENTRICITY) / (1.0 - _ECCENTRICITY)),
        ],
        2.0 * np.pi,
        lambda start, _: start,
    ),
    _make("logistic growth in seasons", _logistic, [0.1, 0.5, 0.7], 10.0, _logistic_solution),
    _make("linear, 100 unknowns", _linear, np.ones(_SIZE), 2.0, _linear_solution),
)
