# SPDX-License-Identifier: Apache-2.0
"""Which states a solve keeps: the last, those at given times, or that after every step."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.solvers import tracing
from homoode_tf.solvers.ode.carry import Arrays, Carry, Kept
from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.flat import Tensors, combine
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Status
from homoode_tf.solvers.ode.step import Step, Stepper
from homoode_tf.solvers.ode.step_control import StepControl
from homoode_tf.solvers.ode.tableau import ButcherTableau


def make_array(dtype: tf.DType, shape: tf.TensorShape, size, dynamic: bool = False):
    """An array of tensors, which a loop fills."""
    return tf.TensorArray(
        dtype, size=size, dynamic_size=dynamic, element_shape=shape, clear_after_read=False
    )


def write(arrays: Arrays, index: tf.Tensor, values: Tensors) -> Arrays:
    """Writes one value into each array."""
    return [array.write(index, value) for array, value in zip(arrays, values, strict=True)]


class FinalState:
    """The state at the only solution time; and the base of the others.

    Attributes:
      interpolates: Whether states inside of steps are computed from the slopes.
    """

    interpolates = False

    def __init__(self, problem: Problem, clock: Clock):
        self._problem, self._clock = problem, clock
        self._times = clock.targets

    def begin(self) -> Kept:
        """What is kept before the first step."""
        return Kept(tf.constant(0), [])

    def target(self, kept: Kept) -> tf.Tensor:
        """The time that the next step must not pass."""
        return self._clock.span

    def keep(self, kept: Kept, before: Carry, after: Carry, step: Step, accept) -> Kept:
        """Keeps what a step has reached; `before` and `after` are the carries around it."""
        return kept

    def wants_more(self, kept: Kept, going: tf.Tensor) -> tf.Tensor:
        """Whether a solve that is `going` is to go on; of the shape of time."""
        return going

    def last_status(self, kept: Kept, status: tf.Tensor) -> tf.Tensor:
        """The status after the last step."""
        return status

    def finish(self, kept: Kept, state: Tensors) -> tuple[tf.Tensor, Tensors]:
        """The solution times and the states there, stacked along a leading axis."""
        return self._problem.solution_times, [tf.expand_dims(y, 0) for y in state]


class EveryStep(FinalState):
    """The state at the start and after every step that was accepted."""

    def begin(self):
        time, state = self._problem.initial_time, self._problem.initial_state
        arrays = [make_array(x.dtype, x.shape, 0, dynamic=True) for x in (time, *state)]
        return Kept(tf.constant(0), write(arrays, 0, [time, *state]))

    def keep(self, kept, before, after, step, accept):
        values = [self._clock.time(after.time), *after.state]
        return kept._replace(arrays=write(kept.arrays, after.control.accepted, values))

    def finish(self, kept, state):
        times, *states = [array.stack() for array in kept.arrays]
        return times, states


class _SolutionTimes(FinalState):
    """Base: the states at several solution times."""

    def begin(self):
        number = self._times.shape[0]
        size = tf.size(self._times) if number is None else number
        arrays = [make_array(y.dtype, y.shape, size) for y in self._problem.initial_state]
        return Kept(tf.constant(0), arrays)

    def finish(self, kept, state):
        # The final time, and after a failure every time that was not reached.
        _, arrays = tf.while_loop(
            lambda index, _: index < tf.size(self._times),
            lambda index, arrays: (index + 1, write(arrays, index, state)),
            tuple(kept),
            parallel_iterations=1,
            maximum_iterations=self._times.shape[0],
        )
        return self._problem.solution_times, [array.stack() for array in arrays]


class InterpolatedTimes(_SolutionTimes):
    """The states at the solution times, by the method's dense output."""

    interpolates = True

    def __init__(self, problem: Problem, clock: Clock, stepper: Stepper):
        super().__init__(problem, clock)
        self._stepper = stepper

    def keep(self, kept, before, after, step, accept):
        number = self._times.shape[0]
        last = (tf.size(self._times) if number is None else number) - 1

        def keep_one(index, arrays):
            target = tf.gather(self._times, index)
            weights = self._stepper.dense_weights(before.time, step.length, target)
            return index + 1, write(arrays, index, combine(before.state, weights, step.slopes))

        return Kept(
            *tf.while_loop(
                lambda index, _: (
                    accept
                    & (index < last)
                    & (tf.gather(self._times, tf.minimum(index, last)) <= after.time)
                ),
                keep_one,
                tuple(kept),
                parallel_iterations=1,
                maximum_iterations=self._times.shape[0],
            )
        )


class SteppedTimes(_SolutionTimes):
    """The states at the solution times, each of which ends a step."""

    def __init__(self, problem: Problem, clock: Clock, control: StepControl):
        super().__init__(problem, clock)
        self._control = control

    def target(self, kept):
        # Not tf.gather, whose gradient is no tensor.
        return self._times[kept.index]

    def keep(self, kept, before, after, step, accept):
        arrived = self._control.has_arrived(after.time, self.target(kept), after.control.status)
        arrays = write(kept.arrays, kept.index, after.state)
        return Kept(kept.index + tf.cast(arrived, tf.int32), arrays)


class UntilEvent(FinalState):
    """The time at which a function changes its sign, by the dense output of the step around it.

    The arrays kept are the function's value, and the time of its zero once that is found.
    """

    interpolates = True

    def __init__(self, problem: Problem, clock: Clock, stepper: Stepper, shape, event: Callable):
        super().__init__(problem, clock)
        self._stepper, self._shape, self._event = stepper, shape, event

    def begin(self):
        start = tf.broadcast_to(self._problem.initial_time, self._shape)
        value = self._event(start, self._problem.initial_state)
        return Kept(tf.constant(0), [value, tf.fill(tf.shape(value), value.dtype.max)])

    def _is_found(self, kept):
        return kept.arrays[1] < kept.arrays[1].dtype.max

    def wants_more(self, kept, going):
        return going & ~self._is_found(kept)

    def target(self, kept):
        # A sample that has found its zero goes nowhere.
        return tf.where(self._is_found(kept), tf.zeros_like(self._times[-1]), self._times[-1])

    def keep(self, kept, before, after, step, accept):
        value, found = kept.arrays
        next_value = self._event(self._clock.time(after.time), after.state)
        changes = ((value > 0.0) & (next_value <= 0.0)) | ((value < 0.0) & (next_value >= 0.0))
        changes &= accept

        def value_at(elapsed):
            weights = self._stepper.dense_weights(before.time, step.length, elapsed)
            state = combine(before.state, weights, step.slopes)
            return self._event(self._clock.time(elapsed), state)

        def find():
            root = tfp.math.find_root_chandrupatla(
                value_at,
                before.time,
                after.time,
                position_tolerance=4.0 * np.finfo(found.dtype.as_numpy_dtype).eps,
                # Samples without a change of sign have no zero to wait for.
                stopping_policy_fn=lambda done: tf.reduce_all(done | ~changes),
            ).estimated_root
            return tf.where(changes, root, found)

        found = tf.cond(tf.reduce_any(changes), find, lambda: tf.identity(found))
        return kept._replace(arrays=[tf.where(accept, next_value, value), found])

    def last_status(self, kept, status):
        missed = ~self._is_found(kept) & tf.equal(status, int(Status.SUCCESS))
        return tf.where(missed, int(Status.NO_EVENT), status)

    def finish(self, kept, state):
        time = self._clock.time(tf.minimum(kept.arrays[1], self._times[-1]))
        return time, [y[tf.newaxis] for y in state]


def make(
    problem: Problem,
    clock: Clock,
    tableau: ButcherTableau,
    control: StepControl,
    event: Callable | None = None,
) -> FinalState:
    """Returns what fits a problem, a method, a step control and an event."""
    if event is not None:
        stepper = Stepper(tableau, clock, problem.stage_field)
        shape = control.time_shape(problem.initial_state)
        return UntilEvent(problem, clock, stepper, shape, event)
    if problem.solution_times.shape[0] == 1 and not problem.every_step:
        return FinalState(problem, clock)
    if tracing.is_vectorizing():
        raise tracing.TransformationError(
            "tf.vectorized_map cannot vectorize a solve with several solution times. Solve the "
            "whole batch with step_control='sample', or to one time after another."
        )
    if problem.every_step:
        return EveryStep(problem, clock)
    if tableau.dense and not control.by_sample:
        return InterpolatedTimes(problem, clock, Stepper(tableau, clock, problem.stage_field))
    return SteppedTimes(problem, clock, control)
