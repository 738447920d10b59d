# SPDX-License-Identifier: Apache-2.0
"""The Butcher tableau of an explicit Runge-Kutta method, checked when it is made."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from homoode_tf.errors import InvalidValueError

_TOLERANCE = 1e-12


@keras.saving.register_keras_serializable(package="homoode_tf")
@dataclasses.dataclass(frozen=True)
class ButcherTableau:
    """The coefficients of one explicit Runge-Kutta method.

    A step of size h from (t, y) evaluates the stages

        k_i = F(t + c_i h, y + h sum_j a_ij k_j)

    and ends in y + h sum_i b_i k_i. With embedded weights the error of the step is estimated by
    h sum_i e_i k_i; two such rows (order eight) are combined as Hairer does. Inside the step the
    solution is y + h sum_i w_i(theta) k_i, theta = (time - t) / h, with polynomials w_i that vanish
    at 0; the last of them belongs to the derivative at the end of the step.

    Args:
      name: Name of the method in messages and in `solvers.get`.
      order: Order of the solution that is propagated.
      a: Rows of the strictly lower triangle, from the second stage on.
      b: Weights of the stages in the solution.
      error: Rows of weights that estimate the error, one weight a stage; empty for fixed steps.
      error_order: Order of the embedded solution: the estimate is of size h^(error_order + 1).
      error_row_orders: The same for each row of error; by default error_order. Two rows of orders
        5 and 3 combine to an estimate of order 2 * (5 + 1) - (3 + 1) - 1 = 7.
      interpolation: For each stage, and for the derivative at the end, the coefficients of
        theta, theta^2, ... of w_i. None asks for the cubic Hermite polynomial.
      dense: Whether interpolation inside a step is as accurate as the method. If not, the solver
        stops at every solution time instead.
      reference: Where the coefficients come from.

    Raises:
      ValueError: If the coefficients contradict each other or the order claimed.

    Example:
        >>> ButcherTableau("ralston", order=2, a=((2 / 3,),), b=(1 / 4, 3 / 4)).c
        (0.0, 0.6666666666666666)
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[tuple[float, ...], ...] = ()
    error_order: int = 0
    error_row_orders: tuple[int, ...] = ()
    interpolation: tuple[tuple[float, ...], ...] | None = None
    dense: bool = True
    reference: str = ""

    def __post_init__(self) -> None:
        """Checks the coefficients and fills in the Hermite polynomial."""
        for name in ("a", "error", "interpolation"):
            # Lists, which is what JSON has, become what a frozen object holds.
            rows = getattr(self, name)
            rows = rows if rows is None else tuple(tuple(row) for row in rows)
            object.__setattr__(self, name, rows)
        for name in ("b", "error_row_orders"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_shapes()
        self._check_order(self.b, self.order, "b", lambda power: 1.0 / power)
        orders = self.error_row_orders or (self.error_order,) * len(self.error)
        for row, order in zip(self.error, orders, strict=True):
            self._check_order(row, order, "error", lambda power: 0.0)
        if self.interpolation is None:
            object.__setattr__(self, "interpolation", self._hermite())
        self._check_interpolation()

    def get_config(self) -> dict[str, Any]:
        """The coefficients, as plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ButcherTableau":
        """Makes the tableau that `get_config` described."""
        return cls(**config)

    @property
    def num_stages(self) -> int:
        """Number of stages, the evaluation at the end of a first-same-as-last method included."""
        return len(self.b)

    @property
    def c(self) -> tuple[float, ...]:
        """Times of the stages within the step, as fractions of it."""
        sums = (math.fsum(row) for row in self.a)
        # The last stages belong to the end of the step exactly, whatever the rounding of the sum.
        return (0.0, *(1.0 if abs(c - 1.0) < _TOLERANCE else c for c in sums))

    @property
    def fsal(self) -> bool:
        """Whether the last stage is the derivative at the end of the step (first same as last)."""
        return self.num_stages > 1 and self.b[-1] == 0.0 and self.a[-1] == self.b[:-1]

    @property
    def adaptive(self) -> bool:
        """Whether the method estimates its error."""
        return bool(self.error)

    def weights(self, theta: float) -> tuple[float, ...]:
        """Weights w_i(theta) of the stages, and of the derivative at the end, inside a step."""
        return tuple(
            sum(p * theta ** (m + 1) for m, p in enumerate(row)) for row in self.interpolation
        )

    def _hermite(self) -> tuple[tuple[float, ...], ...]:
        """The cubic through both ends with both slopes, in terms of the stages."""
        rows = [[0.0, 3.0 * b, -2.0 * b] for b in self.b]
        if not self.fsal:
            rows.append([0.0, 0.0, 0.0])
        start, end = (1.0, -2.0, 1.0), (0.0, -1.0, 1.0)
        rows[0] = [x + y for x, y in zip(rows[0], start, strict=True)]
        rows[-1] = [x + y for x, y in zip(rows[-1], end, strict=True)]
        return tuple(tuple(row) for row in rows)

    def _fail(self, what: str) -> None:
        raise InvalidValueError(f"Butcher tableau {self.name!r}: {what}.")

    def _check_shapes(self) -> None:
        stages = len(self.b)
        if self.order < 1:
            self._fail(f"order must be at least 1, got {self.order}")
        if len(self.a) != stages - 1:
            self._fail(f"a must have {stages - 1} rows for {stages} weights b, got {len(self.a)}")
        for i, row in enumerate(self.a, start=1):
            if len(row) != i:
                self._fail(f"row {i} of a must have {i} entries (explicit method), got {len(row)}")
        for row in self.error:
            if len(row) != stages:
                self._fail(f"a row of error must have {stages} entries, got {len(row)}")
        if bool(self.error) != (self.error_order > 0):
            self._fail(
                f"error_order must be positive with error weights only, got {self.error_order}"
            )

    def _check_order(
        self,
        weights: Sequence[float],
        order: int,
        name: str,
        expected: Callable[[int], float],
    ) -> None:
        """The quadrature conditions: sum_i b_i c_i^(q-1) = 1/q, or 0 for an error estimate."""
        for power in range(1, order + 1):
            total = math.fsum(w * c ** (power - 1) for w, c in zip(weights, self.c, strict=True))
            if abs(total - expected(power)) > _TOLERANCE * sum(map(abs, weights)):
                self._fail(
                    f"sum of {name}_i c_i^{power - 1} must be {expected(power):.6g} "
                    f"for order {order}, got {total:.16g}"
                )

    def _check_interpolation(self) -> None:
        rows = self.num_stages + (not self.fsal)
        if len(self.interpolation) != rows:
            self._fail(f"interpolation must have {rows} rows, got {len(self.interpolation)}")
        ends = zip(self.weights(1.0), (*self.b, 0.0), strict=False)
        if any(abs(w - b) > 1e-9 for w, b in ends):
            self._fail("interpolation must give the step's own solution at theta = 1")
