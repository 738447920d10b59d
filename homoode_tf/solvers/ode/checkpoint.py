# SPDX-License-Identifier: Apache-2.0
"""The exact derivative of the steps taken, with one state stored a step."""

from typing import NamedTuple

import tensorflow as tf

from homoode_tf.solvers.ode import outputs
from homoode_tf.solvers.ode.carry import Kept
from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.flat import Tensors, add, dot, expand, gather
from homoode_tf.solvers.ode.own_gradient import Gradients, OwnGradient, Sources, vector_jacobian
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Solution
from homoode_tf.solvers.ode.reverse_step import ReverseStep
from homoode_tf.solvers.ode.settings import Settings
from homoode_tf.solvers.ode.step import Stepper


class Checkpoint(OwnGradient):
    """Repeats the accepted steps from the last to the first, and differentiates each.

    Step sizes count as constants, but for those of the steps cut at a solution time: these have
    length (solution time - start of the step), and that is how the gradients by the times arise.
    """

    records = True

    def backward(self, problem, solution, cotangents, sources):
        return _ReverseLoop(problem, self._settings, solution, cotangents, sources).run()


class _Carry(NamedTuple):
    """What goes from a step to the one before it: gradients by ...

    Attributes:
      state: ... the state at the end of the next step,
      end: ... the time there, on the clock,
      start: ... t0, as the field sees it,
      times: ... the solution times, on the clock,
      sources: ... constants and variables.
      reached: Number of solution times reached before the step after this one.
    """

    state: Tensors
    end: tf.Tensor
    start: tf.Tensor
    times: tf.Tensor
    sources: Tensors
    reached: tf.Tensor


class _Inner(NamedTuple):
    """Cotangents that the solution times inside a step give to its parts, and to those times."""

    state: Tensors
    slopes: list[Tensors]
    times: tf.Tensor
    start: tf.Tensor
    length: tf.Tensor


class _ReverseLoop:
    """One backward pass."""

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        solution: Solution,
        cotangents: Tensors,
        sources: Sources,
    ):
        self._problem = problem
        self._settings = settings
        self._control = settings.control
        self._solution = solution
        self._cotangents = cotangents
        self._sources = sources
        self._clock = Clock.of(problem, settings.stop_times)
        self._times = self._clock.targets
        self._outputs = outputs.make(problem, self._clock, settings.tableau, self._control)
        self._interpolates = self._outputs.interpolates
        self._stops = isinstance(self._outputs, outputs.SteppedTimes)
        self._stepper = Stepper(
            settings.tableau,
            self._clock,
            problem.stage_field,
            close=self._interpolates,
            stage_dtype=problem.stage_dtype,
        )

    def run(self) -> Gradients:
        """The reverse loop over the steps."""
        problem = self._problem
        time = problem.initial_time
        _, carry = tf.while_loop(
            lambda n, _: n >= 0,
            lambda n, c: (n - 1, self._reverse_step(n, c)),
            (
                self._solution.num_recorded - 1,
                _Carry(
                    state=self._final_cotangent(),
                    end=tf.zeros(self._control.time_shape(problem.initial_state), time.dtype),
                    start=tf.zeros_like(time),
                    times=tf.zeros_like(self._times),
                    sources=self._sources.zeros(),
                    reached=self._solution.num_reached,
                ),
            ),
            parallel_iterations=1,
            maximum_iterations=self._settings.max_num_steps,
        )
        state = carry.state
        if problem.every_step:
            state = add(state, gather(self._cotangents, tf.constant(0)))
        tableau = self._settings.tableau
        evaluations = tableau.num_stages - tableau.fsal + self._interpolates
        problem.report_backward(self._solution.num_recorded * evaluations)
        by_times = self._clock.signed(carry.times)
        by_start = carry.start - tf.reduce_sum(by_times)
        return Gradients(by_start, by_times, state, carry.sources)

    def _final_cotangent(self) -> Tensors:
        """That of the final state: of all solution times written after the last step."""
        zeros = [tf.zeros_like(y) for y in self._problem.initial_state]
        if self._problem.every_step:
            return zeros
        if self._times.shape[0] == 1:
            return gather(self._cotangents, tf.constant(0))
        return self._add_outputs(zeros, self._solution.num_reached, tf.size(self._times))

    def _add_outputs(self, state: Tensors, start: tf.Tensor, stop: tf.Tensor) -> Tensors:
        """Adds the cotangents of the solution times start <= index < stop."""
        _, state = tf.while_loop(
            lambda index, _: index < stop,
            lambda index, a: (index + 1, add(a, gather(self._cotangents, index))),
            (start, state),
            parallel_iterations=1,
            maximum_iterations=self._times.shape[0],
        )
        return state

    def _reverse_step(self, n: tf.Tensor, carry: _Carry) -> _Carry:
        """From the end of step n to its start."""
        record = self._solution.record
        time, length = record.times.read(n), record.step_sizes.read(n)
        index = record.indices.read(n)
        state = [array.read(n) for array in record.states]
        cotangent = carry.state
        if self._problem.every_step:
            cotangent = add(cotangent, gather(self._cotangents, n + 1))
        elif self._stops:
            cotangent = self._add_outputs(cotangent, index, carry.reached)
        timed = self._problem.differentiable_times
        step = ReverseStep(self._stepper, time, length, state, self._sources.tensors, timed)
        if not self._interpolates:
            found, inner = step.pull_back(cotangent), None
        else:
            inner = self._inner_outputs((time, length), state, step.slopes, (index, carry.reached))
            found = step.pull_back(cotangent, inner.slopes)
        carry = carry._replace(
            state=add(found.state, inner.state) if inner else found.state,
            sources=add(carry.sources, found.parameters),
            reached=index,
        )
        if not timed:
            return carry
        by_start, by_length = found.elapsed, found.length
        carry = carry._replace(start=carry.start + found.start)
        if inner:
            carry = carry._replace(times=carry.times + inner.times)
            by_start, by_length = by_start + inner.start, by_length + inner.length
        stopped = None
        if self._settings.stop_times:
            target = self._outputs.target(Kept(index, []))
            stopped = self._clock.next_stop(time, target) < target
        cut_at = record.lasts.read(n), stopped
        return self._pass_on_times(n, carry, cut_at, (by_start, by_length))

    def _inner_outputs(self, span, state, slopes, indices) -> _Inner:
        """Cotangents that the solution times inside a step give to its start, slopes and length.

        The solution at such a time is state + sum_j W_j k_j, with weights W_j that depend on the
        time asked for, and the start and the length of the step, its `span`. `indices` are those of
        the first of these times and of the first after the step.
        """
        first, end = indices
        time, length = span
        timed = self._problem.differentiable_times

        def body(i, inner):
            cotangent, target = gather(self._cotangents, i), tf.gather(self._times, i)
            times = [target, time, length]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(times)
                weights = self._stepper.dense_weights(time, length, target)
            inner = inner._replace(
                state=add(inner.state, cotangent),
                slopes=[
                    old if w is None else add(old, [expand(w, c) * c for c in cotangent])
                    for w, old in zip(weights, inner.slopes, strict=True)
                ],
            )
            if timed:
                used = [(w, k) for w, k in zip(weights, slopes, strict=True) if w is not None]
                by_target, by_start, by_length = vector_jacobian(
                    tape, [w for w, _ in used], times, [dot(cotangent, k) for _, k in used]
                )
                by_times = tf.one_hot(i, tf.size(self._times), by_target, tf.zeros_like(by_target))
                inner = inner._replace(
                    times=inner.times + by_times,
                    start=inner.start + by_start,
                    length=inner.length + by_length,
                )
            return i + 1, inner

        zeros = [tf.zeros_like(y) for y in state]
        nothing = _Inner(
            state=zeros,
            slopes=[list(zeros) for _ in slopes],
            times=tf.zeros_like(self._times),
            start=tf.zeros_like(time),
            length=tf.zeros_like(time),
        )
        _, inner = tf.while_loop(
            lambda i, _: i < end,
            body,
            (first, nothing),
            parallel_iterations=1,
            maximum_iterations=self._times.shape[0],
        )
        return inner

    def _pass_on_times(self, n, carry: _Carry, cut_at, found) -> _Carry:
        """Passes the gradients by a step's start and length on to the times that they depend on."""
        (is_last, stopped), (by_start, by_length) = cut_at, found
        size = tf.size(self._times)
        if self._settings.num_steps is not None:
            count = self._settings.num_steps
            done = tf.cast(n, by_start.dtype) / count
            by_final = by_length / count + by_start * done
            by_times = tf.one_hot(size - 1, size, by_final, tf.zeros_like(by_final))
            return carry._replace(times=carry.times + by_times)
        cut = tf.where(is_last, carry.end + by_length, tf.zeros_like(by_length))
        position = carry.reached if self._stops else size - 1
        start = carry.start
        if self._settings.stop_times:
            # On the clock a stop depends on t0 alone.
            by_stop = tf.reduce_sum(tf.where(stopped, cut, tf.zeros_like(cut)))
            start -= self._clock.signed(by_stop)
            cut = tf.where(stopped, tf.zeros_like(cut), cut)
        total = tf.reduce_sum(cut)
        return carry._replace(
            start=start,
            end=by_start + tf.where(is_last, -by_length, carry.end),
            times=carry.times + tf.one_hot(position, size, total, tf.zeros_like(total)),
        )
