# SPDX-License-Identifier: Apache-2.0
"""The two homotopies H(z, lambda), by their factors."""

import dataclasses

# Of r(z), of z - z0 and of r(z0).
Factors = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Homotopy:
    """H(z, lambda) = a r(z) + b (z - z0) + c r(z0), with (a, b, c) linear in lambda.

    H(z0, 0) = 0 and H(z, 1) = r(z). The derivative by z is a J + b I, with J the Jacobian of r.

    Attributes:
      at_start: The factors at lambda = 0; those at lambda = 1 are (1, 0, 0).
    """

    at_start: Factors

    @property
    def slopes(self) -> Factors:
        """The derivatives of the factors by lambda."""
        a, b, c = self.at_start
        return 1.0 - a, -b, -c

    def factors(self, parameter: float) -> Factors:
        """The factors at a lambda."""
        a, b, c = (
            start + parameter * slope
            for start, slope in zip(self.at_start, self.slopes, strict=True)
        )
        return a, b, c


# Along Newton's path r(z) keeps its direction; scaling the equations does not change it. J must be
# regular at z0. (Keller, 1978, Global homotopies and Newton methods; Allgower and Georg, 1990,
# Numerical Continuation Methods, doi:10.1007/978-3-642-61257-2.)
#
# The fixed-point homotopy's path begins well whatever J is. For r(z) = z - g(z) with g mapping a
# ball into itself, the path from almost every z0 in the ball arrives. The sign of r matters: -r has
# other paths. (Chow, Mallet-Paret and Yorke, 1978, doi:10.1090/S0025-5718-1978-0492046-9.)
BY_NAME = {
    "newton": Homotopy(at_start=(1.0, 0.0, -1.0)),  # r(z) - (1 - lambda) r(z0)
    "fixed_point": Homotopy(at_start=(0.0, 1.0, 0.0)),  # lambda r(z) + (1 - lambda) (z - z0)
}
