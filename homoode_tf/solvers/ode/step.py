# SPDX-License-Identifier: Apache-2.0
"""One step of an explicit Runge-Kutta method."""

import dataclasses
import functools
from typing import NamedTuple

import tensorflow as tf

from homoode_tf.solvers import fusion
from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.flat import Tensors, combine, scale
from homoode_tf.solvers.ode.problem import Field
from homoode_tf.solvers.ode.stage_sums import StageSums
from homoode_tf.solvers.ode.tableau import ButcherTableau


class Step(NamedTuple):
    """A step taken: its end, and what was computed on the way.

    Attributes:
      length: Shape () or (batch,).
      state: Components at the end.
      slopes: Derivatives at the stages, and at the end where that was asked for.
      end: The derivative at the end, with what the integrands say there; None if not asked for.
      errors: One list of components for each row of error weights.
      integrals: What the step adds to the integrals.
    """

    length: tf.Tensor
    state: Tensors
    slopes: list[Tensors]
    end: Tensors | None
    errors: list[Tensors]
    integrals: Tensors


@dataclasses.dataclass(frozen=True)
class Stepper:
    """Takes steps of one method along one field.

    Attributes:
      tableau: The method.
      clock: What tells the time.
      field: The vector field.
      integrands: As of `Problem`; None where nothing is integrated along the way.
      estimate: Whether steps estimate their errors.
      close: Whether steps evaluate the slope at their end.
      stage_dtype: As of `Problem`.
      differentiated: Whether automatic differentiation is to go through the steps.
    """

    tableau: ButcherTableau
    clock: Clock
    field: Field
    integrands: Field | None = None
    estimate: bool = False
    close: bool = False
    stage_dtype: tf.DType | None = None
    differentiated: bool = False

    @property
    def num_stages(self) -> int:
        """Of first-same-as-last methods the last stage is evaluated only when it is needed."""
        needed = self.estimate or self.close
        return self.tableau.num_stages - (self.tableau.fsal and not needed)

    def slope_at(self, elapsed: tf.Tensor, state: Tensors) -> Tensors:
        """What the field says at one point, with its integrands."""
        return (self.integrands or self.field)(self.clock.time_of_step(elapsed)(elapsed), state)

    def take_step(
        self,
        elapsed: tf.Tensor,
        length: tf.Tensor,
        state: Tensors,
        slope: Tensors | None = None,
        is_final: tf.Tensor | None = None,
    ) -> Step:
        """One step.

        Args:
          elapsed: Where it starts on the clock, shape () or (batch,).
          length: Of the step, of the same shape.
          state: Components there.
          slope: What the field (with integrands) says there, if it is known.
          is_final: Whether nothing comes after this step, a boolean scalar. The slope at its end
            then serves the error estimate alone, and has no derivative.

        Returns:
          The `Step`.
        """
        tableau, num_stages = self.tableau, self.num_stages
        rows = scale(self.clock.signed(length), [*tableau.a, tableau.b, *tableau.error])
        solution, errors = rows[tableau.num_stages - 1], rows[tableau.num_stages :]
        # Where a stage has no weight in the solution its integrands count for nothing.
        fields = {False: self.field, True: self.integrands or self.field}
        ends_in_stage = tableau.fsal and num_stages == tableau.num_stages
        times = self.clock.times_in_step(elapsed, length, [*tableau.c[:num_stages], 1.0])
        slopes = [fields[bool(tableau.b[0])](times[0], state) if slope is None else slope]
        used_rows = rows[: num_stages - 1] if ends_in_stage else [*rows[: num_stages - 1], solution]
        sums = StageSums(state, used_rows, self.differentiated)
        sums.take(slopes[0])
        for i in range(1, num_stages):
            last = tableau.fsal and i == tableau.num_stages - 1
            inner = sums.sum(i - 1, None if last else self.stage_dtype)
            field = fields[last or bool(tableau.b[i])]
            if last and is_final is not None:
                # A branch, so that a derivative, which would be zero, is not computed. Gradients
                # of its own are what TensorFlow does not find in one.
                evaluate = functools.partial(field, times[i], inner)
                with fusion.plain_operations():
                    slope = tf.cond(is_final, lambda: _frozen(evaluate()), evaluate)  # noqa: B023
                slopes.append(slope)
            else:
                slopes.append(field(times[i], inner))
            sums.take(slopes[-1])
        size = len(state)
        if ends_in_stage:
            next_state, end = inner, slopes[-1]
        else:
            next_state, end = sums.sum(num_stages - 1), None
            if self.close:
                end = fields[True](times[-1], next_state)
        used = [(w, k[size:]) for w, k in zip(solution, slopes, strict=False) if w is not None]
        derivatives = [k[:size] for k in slopes]
        return Step(
            length=length,
            state=next_state,
            slopes=derivatives if end is None or tableau.fsal else [*derivatives, end[:size]],
            end=end,
            errors=[combine(None, e, derivatives, state[0].dtype) for e in errors if self.estimate],
            integrals=combine(None, [w for w, _ in used], [q for _, q in used]),
        )

    def dense_weights(
        self, elapsed: tf.Tensor, length: tf.Tensor, target: tf.Tensor
    ) -> list[tf.Tensor | None]:
        """Weights of the slopes in the solution at `target`, inside the step from `elapsed` on."""
        theta = (target - elapsed) / length
        signed = self.clock.signed(length)
        weights = []
        for row in self.tableau.interpolation:
            if not any(row):
                weights.append(None)
                continue
            value = tf.constant(row[-1], theta.dtype)
            for coefficient in reversed(row[:-1]):
                value = value * theta + coefficient
            weights.append(signed * value * theta)
        return weights


def _frozen(tensors: Tensors) -> Tensors:
    return [tf.stop_gradient(x) for x in tensors]
