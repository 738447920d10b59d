# SPDX-License-Identifier: Apache-2.0
"""The equation H(z, lambda) = 0 at points of the path: tangents and Newton's corrections."""

import dataclasses
import functools
import math

import numpy as np

from homoode_tf.homotopy.linear_algebra import BorderedSolve, Jacobian
from homoode_tf.homotopy.maps import Homotopy


@dataclasses.dataclass(frozen=True, eq=False)
class Linearization:
    """The equation at a point.

    Attributes:
      point: u = (z, lambda), (n + 1,).
      value: H / sqrt(n), (n,).
      residual: r(z), (n,).
      solve: Solves the bordered system of a row, a right side and, if wanted, a first guess.
    """

    point: np.ndarray
    value: np.ndarray
    residual: np.ndarray
    solve: BorderedSolve

    @property
    def parameter(self) -> float:
        """The parameter lambda."""
        return float(self.point[-1])

    @property
    def residual_norm(self) -> float:
        """Root mean square of r(z)."""
        return float(np.linalg.norm(self.residual)) / math.sqrt(self.residual.size)


class System:
    """H(z, lambda) = 0, with lengths that do not depend on the size of the state.

    A change c of a point u = (z, lambda) stands for (sqrt(n) c_z, c_lambda), so that its length
    is |c|^2 = mean(dz^2) + dlambda^2. H is divided by sqrt(n): its length is its root mean square,
    and its derivative by changes is [H_z  H_lambda / sqrt(n)].

    Args:
      jacobian: The residual with its Jacobian.
      homotopy: Which H.
      initial_state: z0, (n,).

    Attributes:
      start: The equation at (z0, 0).
    """

    def __init__(self, jacobian: Jacobian, homotopy: Homotopy, initial_state: np.ndarray):
        self._jacobian = jacobian
        self._homotopy = homotopy
        self._root = math.sqrt(jacobian.size)
        self._stretch = np.full_like(initial_state, self._root, shape=[jacobian.size + 1])
        self._stretch[-1] = 1.0
        self._initial_state = initial_state
        self._initial_residual, solve = jacobian.evaluate(initial_state)
        point = np.append(initial_state, initial_state.dtype.type(0.0))
        self.start = self._assemble(point, self._initial_residual, solve)

    def moved(self, point: np.ndarray, change: np.ndarray) -> np.ndarray:
        """The point after a change."""
        return point + self._stretch * change

    def change(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The change from one point to another."""
        return (end - start) / self._stretch

    def distance(self, start: np.ndarray, end: np.ndarray) -> float:
        """Its length."""
        return float(np.linalg.norm(self.change(start, end)))

    def tangent(self, here: Linearization, previous: np.ndarray) -> np.ndarray:
        """The unit tangent t at a point, with H_u t = 0 and t . previous > 0, (n + 1,).

        Raises `LinAlgError` if the linear system could not be solved; `previous` is the tangent at
        the point before.
        """
        right_side = np.zeros_like(previous)
        right_side[-1] = 1.0
        solution = here.solve(previous, right_side, previous)
        return solution / float(np.linalg.norm(solution))

    def correct(
        self, predicted: np.ndarray, row: np.ndarray, tolerance: float, max_corrections: int
    ) -> tuple[Linearization, int]:
        """Newton's method on H = 0 in the plane through a point, orthogonal to a row.

        Gives up at once where a correction does not shrink H: the point is then too far from the
        path for Newton's method to be trusted. The row is a unit vector, the tangent; that of
        lambda keeps lambda as it is, exactly. The tolerance is that of the root mean square of H.

        Returns:
          The equation at the point found, and the number of corrections; raises `LinAlgError` if
          none was found.
        """
        point, norm = predicted, math.inf
        for num_corrections in range(max_corrections + 1):
            here = self._assemble(point, *self._jacobian.evaluate(point[:-1]))
            previous_norm, norm = norm, float(np.linalg.norm(here.value))
            if norm <= tolerance:
                return here, num_corrections
            # Nor does a norm that is not finite count as smaller.
            if not norm < previous_norm or num_corrections == max_corrections:
                break
            change = here.solve(row, np.append(-here.value, row.dtype.type(0.0)))
            # The solution has a rounding error along the row.
            change -= row * float(row @ change)
            point = self.moved(point, change)
        raise np.linalg.LinAlgError("Newton's method does not converge")

    def _assemble(self, point, residual, solve):
        state, parameter = point[:-1], float(point[-1])
        factors = self._homotopy.factors(parameter)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = residual, state - self._initial_state, self._initial_residual
            value, column = (
                sum(factor * part for factor, part in zip(by, parts, strict=True)) / self._root
                for by in (factors, self._homotopy.slopes)
            )
        return Linearization(point, value, residual, functools.partial(solve, factors[:2], column))
