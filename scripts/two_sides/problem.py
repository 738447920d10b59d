# SPDX-License-Identifier: Apache-2.0
"""The equation: z = tanh(A z + x) in the plane, with A a rotation times a factor."""

import dataclasses

import numpy as np
import tensorflow as tf
from scipy import optimize

ANGLE = 0.8
CONDITION = (0.2, -0.1)
START = (-0.8, 0.9)
# The conditions that a HomoODE learns: a uniform distribution on a square, (lower, upper) corner.
CONDITIONS = ((-0.5, -1.0), (1.0, 0.5))


@dataclasses.dataclass(frozen=True)
class RotatingMap:
    """g(z; x) = tanh(A z + x), A = factor * rotation by `ANGLE`.

    tanh has slopes of at most 1, and |A z| = factor |z|: in the Euclidean norm g is Lipschitz in z
    with the constant `factor`. Below 1 it contracts, and has exactly one fixed point (Banach); for
    any factor it maps the square [-1, 1]^2 into itself, and has at least one (Brouwer).

    Attributes:
        factor: The factor, positive.
        condition: x, of shape (2,), or (batch, 2) for batches of as many states.
    """

    factor: float
    condition: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """A, of shape (2, 2)."""
        cosine, sine = np.cos(ANGLE), np.sin(ANGLE)
        return self.factor * np.array([[cosine, -sine], [sine, cosine]])

    def __call__(self, state: tf.Tensor) -> tf.Tensor:
        """g(z; x) of a float64 tensor z of shape (2,) or (batch, 2); the same shape."""
        return tf.tanh(tf.linalg.matvec(tf.constant(self.matrix), state) + self.condition)

    def jacobian(self, state: np.ndarray) -> np.ndarray:
        """The derivative of g by z at a point, of shape (2, 2)."""
        slopes = 1.0 - np.tanh(self.matrix @ state + self.condition) ** 2
        return slopes[:, np.newaxis] * self.matrix

    def equilibrium(self, start: np.ndarray | None = None) -> np.ndarray:
        """z* = g(z*; x), of shape (2,), for one x, by SciPy: the reference for all else.

        Args:
            start: Where SciPy starts, of shape (2,); None is 0.

        Raises:
            ArithmeticError: If z* is not found to |g(z*) - z*| <= 1e-14.
        """
        start = np.zeros(2) if start is None else start
        result = optimize.root(
            lambda z: z - np.tanh(self.matrix @ z + self.condition),
            start,
            jac=lambda z: np.eye(2) - self.jacobian(z),
            tol=1e-15,
        )
        if np.linalg.norm(result.fun) > 1e-14:
            raise ArithmeticError(f"No equilibrium found from {start}: {result.message}")
        return result.x


def small_map() -> RotatingMap:
    """The page's g: contracts, but weakly."""
    return RotatingMap(0.95, np.array(CONDITION))


def sharp_map() -> RotatingMap:
    """The same g with another factor: its equilibrium repels the flow and Picard's iteration."""
    return RotatingMap(5.0, np.array(CONDITION))


def draw_conditions(number: int, seed: int) -> np.ndarray:
    """Conditions x from the square `CONDITIONS`, of shape (number, 2)."""
    return np.random.default_rng(seed).uniform(*CONDITIONS, (number, 2))
