# SPDX-License-Identifier: Apache-2.0
"""What the loop asks between two steps, and the answers of methods with equal steps.

A step control owns everything that differs between one time for the whole batch and one for each
sample: the shape of time, the norm of the error, acceptance, and how what was accepted takes the
place of what was there.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import Any, NamedTuple

import tensorflow as tf

from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.flat import Tensors
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Status
from homoode_tf.solvers.ode.step import Step

# Of a step: by less than this, two times are one.
_ROUNDING = 1e-3


class ControlState(NamedTuple):
    """What a step control carries from step to step; all of the shape of time.

    Attributes:
      step_size: Proposed for the next step, not cut by the end of the interval.
      ratio: Error of the last step that was accepted, in units of the tolerance.
      rejected: Whether the last step was rejected.
      first_step: Size proposed after the first accepted step; -1 before.
      accepted: int32, steps taken.
      attempts: int32, steps tried.
      status: int32, a value of `Status`.
    """

    step_size: tf.Tensor
    ratio: tf.Tensor
    rejected: tf.Tensor
    first_step: tf.Tensor
    accepted: tf.Tensor
    attempts: tf.Tensor
    status: tf.Tensor


class Plan(NamedTuple):
    """The next step: its length, where it ends, and whether that is its target.

    `active` says which samples are still under way; None where there is one time for all.
    """

    length: tf.Tensor
    end: tf.Tensor
    is_last: tf.Tensor
    active: tf.Tensor | None = None


class StepControl(abc.ABC):
    """Base of the step controls; itself for one time for the whole batch.

    Attributes:
      estimates: Whether steps must estimate their errors.
      by_sample: Whether each sample has a time of its own.
    """

    estimates = False
    by_sample = False

    def time_shape(self, state: Tensors) -> tf.Tensor:
        """The shape of time, as a tensor."""
        return tf.constant([], tf.int32)

    def full(self, state: Tensors, value: float | bool, dtype: tf.DType) -> tf.Tensor:
        """A tensor of the shape of time that holds one value."""
        return tf.constant(value, dtype)

    def static_time_shape(self, state: Tensors) -> tf.TensorShape:
        """The same, as far as it is known without running."""
        return tf.TensorShape([])

    @abc.abstractmethod
    def first_step(
        self, problem: Problem, clock: Clock, slope: Tensors | None, given: Any
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The first step size and the evaluations that choosing it cost.

        Args:
          problem: What is integrated.
          clock: Its clock.
          slope: The field at its start, where it is known.
          given: A step size to begin with: None, a number or a tensor.
        """

    def start(self, problem: Problem, slope: Tensors | None, step_size: tf.Tensor) -> ControlState:
        """What is carried before the first step."""
        dtype = problem.initial_time.dtype
        full = functools.partial(self.full, problem.initial_state)
        return ControlState(
            step_size=step_size,
            ratio=full(1.0, dtype),
            rejected=full(False, tf.bool),
            first_step=full(-1.0, dtype),
            accepted=full(0, tf.int32),
            attempts=full(0, tf.int32),
            status=self.first_status(slope, full(int(Status.SUCCESS), tf.int32)),
        )

    def first_status(self, slope: Tensors | None, success: tf.Tensor) -> tf.Tensor:
        """The status before the first step."""
        return success

    def last_status(self, status: tf.Tensor, state: Tensors) -> tf.Tensor:
        """The status after the last step."""
        return status

    @abc.abstractmethod
    def plan(
        self, control: ControlState, time: tf.Tensor, target: tf.Tensor, problem: Problem
    ) -> Plan:
        """The next step from `time` on the clock, which must not pass `target`."""

    def planned(
        self, length: tf.Tensor, is_last: tf.Tensor, time: tf.Tensor, target, problem: Problem
    ) -> Plan:
        """A step of a length, or to the target.

        The state goes as far as the clock can show: where it rounds, so does the step.
        """
        length = tf.stop_gradient((time + length) - time)
        length = tf.where(is_last, problem.cut(target - time), length)
        return Plan(length, tf.where(is_last, target, time + length), is_last)

    @abc.abstractmethod
    def judge(
        self,
        control: ControlState,
        plan: Plan,
        clock: Clock,
        before: tuple[tf.Tensor, Tensors],
        step: Step,
    ) -> tuple[tf.Tensor, ControlState]:
        """Whether a step from (time, state) `before` is accepted, and what is carried on."""

    def squared_error(self, step: Step, state: Tensors) -> tf.Tensor:
        """The square of a step's error in units of the tolerance, times its length.

        Of time's shape; only where steps estimate their errors.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def merge(self, accept: tf.Tensor, new: Any, old: Any) -> Any:
        """The nest `new` where a step was accepted, and `old` elsewhere."""

    def is_running(
        self, control: ControlState, time: tf.Tensor, final_time: tf.Tensor
    ) -> tf.Tensor:
        """Whether there is a step to take; of the shape of time.

        A first step is taken over an interval of length zero, too: its end depends on both times.
        """
        return (time < final_time) | tf.equal(control.attempts, 0)

    def has_arrived(self, time: tf.Tensor, target: tf.Tensor, status: tf.Tensor) -> tf.Tensor:
        """Whether the whole batch has come to its target, a boolean scalar."""
        return time >= target

    def record_index(self, control: ControlState, iteration: tf.Tensor) -> tf.Tensor:
        """Where the next step is recorded: over the last one, if that was rejected."""
        return control.accepted

    def is_finite(self, tensors: Tensors) -> tf.Tensor:
        """Whether all elements are finite; of the shape of time."""
        # NaN and infinity times zero are NaN, so one sum tells.
        totals = [tf.reduce_sum(tf.abs(x) * 0.0, self._axes(x)) for x in tensors]
        finite = [tf.math.is_finite(x) for x in totals]
        return tf.reduce_all(tf.stack(finite), axis=0) if len(finite) > 1 else finite[0]

    def _axes(self, tensor: tf.Tensor) -> list[int] | None:
        """The axes over which a norm goes."""
        return None


class FixedSteps(StepControl):
    """Base of the controls that take every step as it comes."""

    def last_status(self, status, state):
        return tf.where(self.is_finite(state), status, int(Status.NON_FINITE))

    def judge(self, control, plan, clock, before, step):
        stuck = ~plan.is_last & (plan.end <= before[0])
        return tf.constant(True), control._replace(
            accepted=control.accepted + 1,
            attempts=control.attempts + 1,
            status=tf.where(stuck, int(Status.STEP_UNDERFLOW), control.status),
        )

    def merge(self, accept, new, old):
        return new


@dataclasses.dataclass(frozen=True)
class EqualSteps(FixedSteps):
    """A number of equal steps from the initial time to the final one."""

    num_steps: int

    def first_step(self, problem, clock, slope, given):
        # The lengths depend on both ends, also in the eyes of automatic differentiation.
        return problem.cut(clock.span / self.num_steps), tf.constant(0)

    def is_running(self, control, time, final_time):
        return control.accepted < self.num_steps

    def judge(self, control, plan, clock, before, step):
        accept, judged = super().judge(control, plan, clock, before, step)
        # It is the steps that are counted, even those of an interval of length zero.
        return accept, judged._replace(status=control.status)

    def plan(self, control, time, target, problem):
        count = control.accepted + 1
        is_last = count >= self.num_steps
        end = tf.cast(count, time.dtype) * control.step_size
        return Plan(control.step_size, tf.where(is_last, target, end), is_last)


@dataclasses.dataclass(frozen=True)
class StepsOfSize(FixedSteps):
    """Steps of one size; the last is cut at the final time."""

    step_size: float

    def first_step(self, problem, clock, slope, given):
        return tf.constant(self.step_size, problem.initial_time.dtype), tf.constant(0)

    def plan(self, control, time, target, problem):
        size = control.step_size
        # No step that only rounding asks for.
        is_last = time + size * (1.0 + _ROUNDING) >= target
        # On the grid of all multiples a step ends at the next, lest what is rounded adds up.
        multiple = tf.round(time / size)
        is_on_grid = tf.abs(time - multiple * size) < _ROUNDING * size
        length = tf.where(is_on_grid, (multiple + 1.0) * size - time, size)
        return self.planned(length, is_last, time, target, problem)
