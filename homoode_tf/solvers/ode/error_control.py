# SPDX-License-Identifier: Apache-2.0
"""Step sizes that keep the estimated error within the tolerances."""

import dataclasses
import numbers
from collections.abc import Sequence

import tensorflow as tf

from homoode_tf.solvers import fusion
from homoode_tf.solvers.ode import tolerances
from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.flat import Tensors, align, expand
from homoode_tf.solvers.ode.pi_controller import PIController
from homoode_tf.solvers.ode.problem import Field
from homoode_tf.solvers.ode.results import Status
from homoode_tf.solvers.ode.step import Step
from homoode_tf.solvers.ode.step_control import ControlState, StepControl

# A step is stretched by up to so much where that saves one: with the safety factor 0.9 its expected
# error is still within the tolerance.
_STRETCH = 1.1
# Further from the end than so many steps, their number is too uncertain to plan with.
_PLANNED_STEPS = 3


@dataclasses.dataclass(frozen=True)
class BatchErrorControl(StepControl):
    """One step size for the whole batch, by the root mean square error over its whole state.

    Attributes:
      rtol: Relative tolerance, of all components or each (`tolerances`).
      atol: Absolute tolerance.
      controller: Chooses the next step size.
      max_step_size: The longest step; None for no bound.
    """

    rtol: tolerances.Tolerance
    atol: tolerances.Tolerance
    controller: PIController
    max_step_size: float | None = None

    estimates = True

    def first_step(self, problem, clock, slope, given):
        dtype, state = problem.initial_time.dtype, problem.initial_state

        def choose():
            start = slope
            if slope is None:
                start = problem.field(clock.time(tf.zeros(self.time_shape(state), dtype)), state)
            start = [tf.cast(k, y.dtype) for k, y in zip(start, state, strict=False)]
            size = self.initial_step_size(problem.field, clock, state, start)
            return tf.stop_gradient(size), tf.constant(1 if slope else 2)

        is_number = isinstance(given, numbers.Real)
        if given is None or (is_number and not given > 0):
            return choose()
        if is_number:
            return self._given(tf.constant(given, dtype), state), tf.constant(0)
        given = tf.stop_gradient(tf.cast(tf.convert_to_tensor(given), dtype))
        given = self._given(given, state)
        return tf.cond(
            tf.reduce_all(given > 0.0), lambda: (tf.identity(given), tf.constant(0)), choose
        )

    def _given(self, step_size: tf.Tensor, state: Tensors) -> tf.Tensor:
        return tf.reduce_min(step_size)

    def first_status(self, slope, success):
        # A state that begins with a non-finite slope can go nowhere.
        if slope is None:
            return success
        return tf.where(self.is_finite(slope), success, int(Status.NON_FINITE))

    def plan(self, control, time, target, problem):
        longest = self.max_step_size
        if longest is not None and problem.pace is not None:
            longest = self._given(longest / problem.pace, problem.initial_state)
        length, is_last = stretched_step_size(control.step_size, target - time, longest)
        return self.planned(length, is_last, time, target, problem)

    def judge(self, control, plan, clock, before, step):
        time, state = before
        length = tf.stop_gradient(plan.length)
        frozen = [[tf.stop_gradient(x) for x in y] for y in (*step.errors, state, step.state)]
        ratio = tf.stop_gradient(self.error_ratio(frozen[:-2], *frozen[-2:]))
        accept = ratio <= 1.0
        factor = self.controller.factor(ratio, control.ratio, control.rejected)
        step_size = self.controller.propose(control.step_size, length, factor)
        first = accept & (control.first_step < 0.0)
        # Time cannot resolve steps smaller than this.
        epsilon = 2.0**-52 if time.dtype == tf.float64 else 2.0**-23
        smallest = tf.stop_gradient(4.0 * epsilon * clock.span)
        stands_still = ~plan.is_last & (plan.end <= time)
        stuck = stands_still | (~accept & (step_size < smallest))
        failure = tf.where(
            tf.math.is_finite(ratio), int(Status.STEP_UNDERFLOW), int(Status.NON_FINITE)
        )
        return accept, ControlState(
            step_size=step_size,
            ratio=tf.where(accept, tf.maximum(ratio, 1e-4), control.ratio),
            rejected=~accept,
            first_step=tf.where(first, step_size, control.first_step),
            accepted=control.accepted + tf.cast(accept, tf.int32),
            attempts=control.attempts + 1,
            status=tf.where(stuck, failure, control.status),
        )

    def merge(self, accept, new, old):
        # A branch and not a selection: whichever way it goes, no state is copied.
        return tf.cond(accept, lambda: new, lambda: old)

    def error_ratio(
        self, errors: Sequence[Tensors], state: Tensors, next_state: Tensors
    ) -> tf.Tensor:
        """The error in units of the tolerance: a step is accepted if it is at most one.

        ratio = sqrt(mean((error / (atol + rtol max(|state|, |next_state|)))^2)), over all elements
        of all components. Two rows (order eight), with ratios r and s, give
        r^2 / sqrt(r^2 + s^2 / 100).

        Args:
          errors: One or two rows, each with one tensor a component.
          state: State at the start of the step.
          next_state: State at its end.

        Returns:
          Real tensor of the shape of time.

        Reference: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, II.4.
        """
        pairs = tolerances.of_components(self.rtol, self.atol, state)
        ratios = [
            self.root_of_mean(
                [
                    _squares(error, start, end, rtol=rtol, atol=atol)
                    for error, start, end, (rtol, atol) in zip(
                        row, state, next_state, pairs, strict=True
                    )
                ]
            )
            for row in errors
        ]
        if len(ratios) == 1:
            return ratios[0]
        first, second = ratios
        smallest = tf.constant(1e-300 if first.dtype == tf.float64 else 1e-30, first.dtype)
        return tf.square(first) / tf.sqrt(tf.square(first) + 0.01 * tf.square(second) + smallest)

    def squared_error(self, step: Step, state: Tensors) -> tf.Tensor:
        """The square of the error in units of the tolerance, times the step's length.

        Unlike what accepts a step it can be differentiated, by all but the tolerance.

        Args:
          step: A step; of two rows of errors the first counts.
          state: Where it started.

        Returns:
          Real tensor of the shape of time.
        """
        pairs = tolerances.of_components(self.rtol, self.atol, state)
        squares = [
            tf.square(tf.abs(e) / tf.stop_gradient(atol + rtol * tf.maximum(tf.abs(a), tf.abs(b))))
            for e, a, b, (rtol, atol) in zip(step.errors[0], state, step.state, pairs, strict=True)
        ]
        return step.length * self.mean(squares)

    def root_mean_square(self, tensors: Tensors, scales: Tensors) -> tf.Tensor:
        """sqrt(mean(|tensor / scale|^2)) over all elements of all components (of each sample)."""
        quotients = [tf.abs(x) / scale for x, scale in zip(tensors, scales, strict=True)]
        return self.root_of_mean([tf.square(q) for q in quotients])

    def root_of_mean(self, squares: Tensors) -> tf.Tensor:
        """The square root of `mean`."""
        return tf.sqrt(self.mean(squares))

    def mean(self, squares: Tensors) -> tf.Tensor:
        """The mean over all elements of all components (of each sample)."""
        totals: Tensors = []
        sizes = []
        for tensor in squares:
            axes = self._axes(tensor)
            totals.append(tf.reduce_sum(tensor, axes))
            skipped = 0 if axes is None else 1
            shape = tensor.shape[skipped:]
            if shape.is_fully_defined():
                # Of an empty batch the mean is 0.
                sizes.append(max(shape.num_elements(), 1))
            else:
                size = tf.maximum(tf.reduce_prod(tf.shape(tensor)[skipped:]), 1)
                sizes.append(tf.cast(size, totals[-1].dtype))
        return (tf.add_n(totals) if len(totals) > 1 else totals[0]) / sum(sizes)

    def initial_step_size(
        self, field: Field, clock: Clock, state: Tensors, slope: Tensors
    ) -> tf.Tensor:
        """Hairer's first step: an explicit Euler step measures the second derivative.

        Args:
          field: The vector field; it is evaluated once.
          clock: The clock of the solve.
          state: Initial state.
          slope: Its derivative.

        Returns:
          Step size, of the shape of time.

        Reference: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, p. 169.
        """
        span = tf.stop_gradient(clock.span)
        pairs = tolerances.of_components(self.rtol, self.atol, state)
        scales = [atol + rtol * tf.abs(y) for y, (rtol, atol) in zip(state, pairs, strict=True)]
        size, speed = self.root_mean_square(state, scales), self.root_mean_square(slope, scales)
        trial = tf.where(
            (size < 1e-5) | (speed < 1e-5), tf.constant(1e-6, size.dtype), 0.01 * size / speed
        )
        trial = tf.where(tf.math.is_finite(trial), tf.minimum(trial, span), span * 1e-6)
        step = clock.signed(trial)
        euler = [y + expand(step, y) * k for y, k in zip(state, slope, strict=True)]
        change = [b - a for a, b in zip(slope, field(clock.time(trial), euler), strict=True)]
        curvature = self.root_mean_square(change, scales) / tf.maximum(trial, 1e-30)
        largest = tf.maximum(speed, curvature)
        step = tf.where(
            largest <= 1e-15,
            tf.maximum(tf.constant(1e-6, size.dtype), trial * 1e-3),
            (0.01 / tf.maximum(largest, 1e-30)) ** (1.0 / (self.controller.error_order + 1)),
        )
        step = tf.minimum(tf.minimum(100.0 * trial, step), span)
        return tf.where(tf.math.is_finite(step), step, trial)


@fusion.fused
def _squares(error, start, end, *, rtol, atol):
    """|error / tolerance|^2, elementwise."""
    tolerance = atol + rtol * tf.maximum(tf.abs(start), tf.abs(end))
    return tf.square(tf.abs(error) / tolerance)


class SampleErrorControl(BatchErrorControl):
    """A time, a step size and an acceptance for every sample of the leading dimension.

    All samples step at once, each by its own size, and those that have arrived stand still: a
    sample's result does not depend on the others.
    """

    by_sample = True

    def time_shape(self, state):
        return tf.shape(state[0])[:1]

    def full(self, state, value, dtype):
        return tf.fill(self.time_shape(state), tf.constant(value, dtype))

    def static_time_shape(self, state):
        return state[0].shape[:1]

    def _axes(self, tensor):
        return list(range(1, tensor.shape.rank))

    def _given(self, step_size, state):
        return tf.broadcast_to(step_size, self.time_shape(state))

    def plan(self, control, time, target, problem):
        plan = super().plan(control, time, target, problem)
        under_way = (time < target) | tf.equal(control.attempts, 0)
        active = tf.equal(control.status, int(Status.SUCCESS)) & under_way
        length = tf.where(active, plan.length, tf.zeros_like(plan.length))
        return plan._replace(length=length, active=active)

    def judge(self, control, plan, clock, before, step):
        accept, judged = super().judge(control, plan, clock, before, step)
        # Samples that stand still keep everything they had.
        kept = (tf.where(plan.active, n, o) for n, o in zip(judged, control, strict=True))
        return accept & plan.active, ControlState(*kept)

    def merge(self, accept, new, old):
        return tf.nest.map_structure(lambda n, o: tf.where(align(accept, o), n, o), new, old)

    def has_arrived(self, time, target, status):
        return tf.reduce_all((time >= target) | tf.not_equal(status, int(Status.SUCCESS)))

    def record_index(self, control, iteration):
        return iteration


@dataclasses.dataclass(frozen=True)
class WorstSampleErrorControl(BatchErrorControl):
    """One step size for the whole batch, by the error of its worst sample: for an adjoint.

    Attributes:
      ignored: Which samples do not count, shape (batch,); None where all do.
    """

    ignored: tf.Tensor | None = None

    def _axes(self, tensor):
        return list(range(1, tensor.shape.rank))

    def root_of_mean(self, squares):
        roots = super().root_of_mean(squares)
        if self.ignored is not None:
            roots = tf.where(self.ignored, tf.zeros_like(roots), roots)
        # Of an empty batch the largest is -inf.
        return tf.where(tf.size(roots) > 0, tf.reduce_max(roots), tf.zeros([], roots.dtype))

    def is_finite(self, tensors):
        finite = super().is_finite(tensors)
        return tf.reduce_all(finite if self.ignored is None else finite | self.ignored)


def stretched_step_size(
    step_size: tf.Tensor, remaining: tf.Tensor, max_step_size: float | tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Lengthens a step a little where the interval then takes one step less.

    Never shortens it: a long step followed by a short rest tells more about the step sizes that are
    possible than two even ones do, and a solve that starts from what was learnt can take one.

    Args:
      step_size: Proposed by the controller, shape () or (batch,).
      remaining: Time to the end, of the same shape.
      max_step_size: The longest step allowed; None for no bound.

    Returns:
      The length of the next step, and whether it is the last, which ends at the end.
    """
    longest = _STRETCH * step_size
    if max_step_size is not None:
        limit = tf.cast(max_step_size, step_size.dtype)
        step_size, longest = tf.minimum(step_size, limit), tf.minimum(longest, limit)
    count = tf.maximum(tf.math.ceil(remaining / longest), 1.0)
    stretched = tf.maximum(step_size, remaining / count)
    last = ~(count > 1.0)  # also where nothing remains and no step is known
    length = tf.where(count <= _PLANNED_STEPS, stretched, step_size)
    return tf.where(last, remaining, length), last
