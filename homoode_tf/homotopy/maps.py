# SPDX-License-Identifier: Apache-2.0
"""The two homotopies H(z, lambda) and their derivatives, on flat vectors of n numbers."""

import abc
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Homotopy(abc.ABC):
    """A map H(z, lambda) with H(z0, 0) = 0 and H(z, 1) = r(z).

    It is linear in r, hence its derivative by z is a J + b I, with J the Jacobian of r.

    Attributes:
      initial_point: z0, (n,).
      initial_residual: r(z0), (n,).
    """

    initial_point: np.ndarray
    initial_residual: np.ndarray

    @abc.abstractmethod
    def value(self, state: np.ndarray, parameter: float, residual: np.ndarray) -> np.ndarray:
        """H(z, lambda), (n,), given z, lambda and r(z)."""

    @abc.abstractmethod
    def parameter_derivative(self, state: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """The derivative of H by lambda, (n,)."""

    @abc.abstractmethod
    def weights(self, parameter: float) -> tuple[float, float]:
        """The factors a and b of H_z = a J + b I."""


class FixedPointHomotopy(Homotopy):
    """H = lambda r(z) + (1 - lambda) (z - z0).

    Its path begins well whatever J is. For r(z) = z - g(z) with g mapping a ball into itself, the
    path from almost every z0 in the ball arrives. The sign of r matters: -r has other paths.

    Reference: Chow, Mallet-Paret and Yorke (1978), doi:10.1090/S0025-5718-1978-0492046-9.
    """

    def value(self, state, parameter, residual):
        return parameter * residual + (1.0 - parameter) * (state - self.initial_point)

    def parameter_derivative(self, state, residual):
        return residual - (state - self.initial_point)

    def weights(self, parameter):
        return parameter, 1.0 - parameter


class NewtonHomotopy(Homotopy):
    """H = r(z) - (1 - lambda) r(z0).

    Along its path r(z) keeps its direction; scaling the equations does not change it. J must be
    regular at z0.

    Reference: Keller (1978), Global homotopies and Newton methods; Allgower and Georg (1990),
    Numerical Continuation Methods, doi:10.1007/978-3-642-61257-2.
    """

    def value(self, state, parameter, residual):
        del state
        return residual - (1.0 - parameter) * self.initial_residual

    def parameter_derivative(self, state, residual):
        del state, residual
        return self.initial_residual

    def weights(self, parameter):
        del parameter
        return 1.0, 0.0


BY_NAME = {"newton": NewtonHomotopy, "fixed_point": FixedPointHomotopy}
