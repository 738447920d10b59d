# SPDX-License-Identifier: Apache-2.0
"""Prediction along a path: the line, then the cubic through the last two points."""

import dataclasses

import numpy as np
from scipy import optimize


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """The path near a point, as the change of it after a distance h along the arc.

    change(h) = h t + (h / L)^2 A + (h / L)^3 B, with t the tangent at the point and L the length
    of the arc from the point before. The last component of a change is that of lambda.

    Attributes:
      tangent: t, (n + 1,).
      quadratic: A, (n + 1,).
      cubic: B, (n + 1,).
      length: L.
    """

    tangent: np.ndarray
    quadratic: np.ndarray
    cubic: np.ndarray
    length: float

    @classmethod
    def euler(cls, tangent: np.ndarray) -> "Predictor":
        """The line along the tangent, for the first step."""
        return cls(tangent, np.zeros_like(tangent), np.zeros_like(tangent), 1.0)

    @classmethod
    def hermite(
        cls, tangent: np.ndarray, previous_tangent: np.ndarray, step: np.ndarray, length: float
    ) -> "Predictor":
        """The cubic with the unit tangents at two points, by Hermite interpolation.

        `step` is the change from the previous point to this, `length` that of the arc between them.
        """
        quadratic = length * (previous_tangent + 2.0 * tangent) - 3.0 * step
        cubic = length * (previous_tangent + tangent) - 2.0 * step
        return cls(tangent, quadratic, cubic, length)

    def change(self, distance: float) -> np.ndarray:
        """The change after a distance, (n + 1,); a negative distance leads back."""
        fraction = distance / self.length
        return distance * self.tangent + fraction**2 * (self.quadratic + fraction * self.cubic)

    def distance_to_rise(self, rise: float, largest: float) -> float | None:
        """The distance after which lambda has risen by `rise` > 0; None if not within `largest`."""

        def excess(distance):
            return float(self.change(distance)[-1]) - rise

        if excess(largest) < 0.0:
            return None
        return optimize.brentq(excess, 0.0, largest)

    def distance_to_fold(self) -> float | None:
        """The distance back (negative) to where lambda is largest between the two points.

        None if lambda does not turn from rising to falling there.
        """
        if not self._slope(-1.0) > 0.0 > self._slope(0.0):
            return None
        return self.length * optimize.brentq(self._slope, -1.0, 0.0)

    def largest_rise_back(self) -> float:
        """What lambda at such a fold can at most be above that at this point.

        A curve that turns once is below its tangents at both points, which meet at this height; the
        gap between shrinks with the square of the length.
        """
        rising, falling = self._slope(-1.0), -self._slope(0.0)
        return falling * (float(self.change(-self.length)[-1]) + rising) / (rising + falling)

    def _slope(self, fraction: float) -> float:
        """The derivative of lambda by h / L."""
        linear, quadratic, cubic = (
            float(part[-1]) for part in (self.tangent, self.quadratic, self.cubic)
        )
        return linear * self.length + 2.0 * quadratic * fraction + 3.0 * cubic * fraction**2


def arc_length(chord: float, tangent: np.ndarray, previous_tangent: np.ndarray) -> float:
    """Length of the circular arc over a chord, given the unit tangents at its ends."""
    return chord / float(np.sinc(angle(tangent, previous_tangent) / (2.0 * np.pi)))


def angle(tangent: np.ndarray, previous_tangent: np.ndarray) -> float:
    """Angle between unit tangents; accurate also where it is small, as arccos is not."""
    half_chord = 0.5 * float(np.linalg.norm(tangent - previous_tangent))
    return 2.0 * float(np.arcsin(min(half_chord, 1.0)))
