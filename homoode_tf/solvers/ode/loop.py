# SPDX-License-Identifier: Apache-2.0
"""The loop that carries a state from step to step to the final time."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from homoode_tf.solvers import tracing
from homoode_tf.solvers.ode import outputs
from homoode_tf.solvers.ode.carry import Carry
from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.flat import Tensors, add
from homoode_tf.solvers.ode.outputs import make_array, write
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Diagnostics, Record, Solution, Status
from homoode_tf.solvers.ode.settings import Settings
from homoode_tf.solvers.ode.step import Stepper
from homoode_tf.solvers.ode.step_control import StepControl


class Loop:
    """One integration.

    Args:
      problem: What to integrate.
      settings: How.
      record: Whether to record the accepted steps.
      differentiated: Whether automatic differentiation is to go through the loop itself. Then the
        slope at the very end is left out of it: the state there does not depend on it.
      event: A function of time and state at whose zero the solve ends.
      control: Another step control than that of the settings.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        record: bool = False,
        differentiated: bool = False,
        event: Callable[[tf.Tensor, Tensors], tf.Tensor] | None = None,
        control: StepControl | None = None,
    ):
        self._problem, self._settings = problem, settings
        self._control, self._records = control or settings.control, record
        tableau = settings.tableau
        self._clock = Clock.of(problem, settings.stop_times)
        self._outputs = outputs.make(problem, self._clock, tableau, self._control, event)
        controls_by_slope = tableau.fsal and self._control.estimates
        self._stepper = Stepper(
            tableau,
            self._clock,
            problem.stage_field,
            problem.integrands,
            estimate=self._control.estimates,
            close=controls_by_slope or self._outputs.interpolates,
            stage_dtype=problem.stage_dtype,
            differentiated=differentiated,
        )
        only_end = problem.solution_times.shape[0] == 1 and not self._control.by_sample
        # Beyond a jump the slope is another: there each step asks for it anew.
        self._carries_slope = self._stepper.close and not settings.stop_times
        self._freezes_end = (
            differentiated and self._carries_slope and only_end and not problem.measures_error
        )

    def run(self, first_step_size: Any = None) -> Solution:
        """Integrates from the initial time to the last of the solution times.

        Args:
          first_step_size: None or a value that is not positive asks for Hairer's choice.

        Returns:
          A `Solution`.
        """
        problem, state = self._problem, list(self._problem.initial_state)
        elapsed = self._control.full(state, 0.0, problem.initial_time.dtype)
        slope, evaluations = None, tf.constant(0)
        if self._stepper.close:
            slope, evaluations = self._stepper.slope_at(elapsed, state), tf.constant(1)
        tracing.refuse_forward_mode([*problem.tensors, *(slope or [])])
        derivative = slope and slope[: len(state)]
        step_size, cost = self._control.first_step(
            problem, self._clock, derivative, first_step_size
        )
        control = self._control.start(problem, derivative, step_size)
        status = control.status
        if not self._clock.is_checked:
            status = tf.where(self._clock.is_valid(), status, int(Status.INVALID_TIMES))
        carry = Carry(
            time=elapsed,
            state=state,
            slope=slope if self._carries_slope else [],
            integrals=list(problem.integrals),
            control=control._replace(status=status),
            kept=self._outputs.begin(),
            record=self._begin_record(),
            iteration=tf.constant(0),
        )
        (carry,) = tf.while_loop(
            self._goes_on,
            self._body,
            (carry,),
            parallel_iterations=1,
            maximum_iterations=self._settings.largest_number_of_steps,
        )
        return self._finish(carry, evaluations + cost)

    def _goes_on(self, carry: Carry) -> tf.Tensor:
        running = self._is_running(carry)
        return tf.reduce_any(running) if running.shape.rank != 0 else running

    def _is_running(self, carry: Carry) -> tf.Tensor:
        going = tf.equal(carry.control.status, int(Status.SUCCESS))
        going &= self._control.is_running(carry.control, carry.time, self._clock.span)
        return self._outputs.wants_more(carry.kept, going)

    def _body(self, carry: Carry) -> tuple[Carry]:
        """Tries one step."""
        control, problem = self._control, self._problem
        target = self._clock.next_stop(carry.time, self._outputs.target(carry.kept))
        plan = control.plan(carry.control, carry.time, target, problem)
        step = self._stepper.take_step(
            carry.time,
            plan.length,
            carry.state,
            carry.slope or None,
            is_final=plan.is_last if self._freezes_end else None,
        )
        before = (carry.time, carry.state)
        accept, state_of_control = control.judge(carry.control, plan, self._clock, before, step)
        gains = [control.squared_error(step, carry.state)] if problem.measures_error else []
        integrals = add(carry.integrals, [*step.integrals, *gains])
        new = (plan.end, step.state, step.end if self._carries_slope else [], integrals)
        old = (carry.time, carry.state, carry.slope, carry.integrals)
        time, state, slope, integrals = control.merge(accept, new, old)
        after = Carry(
            time=time,
            state=state,
            slope=slope,
            integrals=integrals,
            control=state_of_control,
            kept=carry.kept,
            record=self._write_record(carry, plan, accept),
            iteration=carry.iteration + 1,
        )
        kept = self._outputs.keep(carry.kept, carry, after, step, accept)
        return (after._replace(kept=kept),)

    def _begin_record(self) -> Record | tuple:
        if not self._records:
            return ()
        state, time = self._problem.initial_state, self._problem.initial_time
        fixed = self._settings.stores_fixed_arrays
        size = self._settings.largest_number_of_steps if fixed else 0
        shape = self._control.static_time_shape(state)
        make = lambda dtype, shape: make_array(dtype, shape, size, not fixed)  # noqa: E731
        return Record(
            times=make(time.dtype, shape),
            step_sizes=make(time.dtype, shape),
            lasts=make(tf.bool, shape),
            indices=make(tf.int32, []),
            states=[make(y.dtype, y.shape) for y in state],
        )

    def _write_record(self, carry: Carry, plan, accept: tf.Tensor) -> Record | tuple:
        if not self._records:
            return ()
        record, index = carry.record, self._control.record_index(carry.control, carry.iteration)
        length = tf.where(accept, plan.length, tf.zeros_like(plan.length))
        return Record(
            times=record.times.write(index, carry.time),
            step_sizes=record.step_sizes.write(index, length),
            lasts=record.lasts.write(index, plan.is_last & accept),
            indices=record.indices.write(index, carry.kept.index),
            states=write(record.states, index, carry.state),
        )

    def _finish(self, carry: Carry, initial_evaluations: tf.Tensor) -> Solution:
        """Gathers states, counts and the reason for the end."""
        control, tableau = carry.control, self._settings.tableau
        unfinished = self._is_running(carry)
        status = tf.where(unfinished, int(Status.MAX_NUM_STEPS), control.status)
        status = self._control.last_status(status, carry.state)
        status = self._outputs.last_status(carry.kept, status)
        times, states = self._outputs.finish(carry.kept, carry.state)
        again = self._stepper.close and not self._carries_slope
        step_evaluations = carry.iteration * (tableau.num_stages - tableau.fsal + again)
        return Solution(
            times=times,
            states=states,
            final_state=carry.state,
            integrals=carry.integrals,
            diagnostics=Diagnostics(
                num_ode_fn_evaluations=initial_evaluations + step_evaluations,
                num_jacobian_evaluations=tf.constant(0),
                num_matrix_factorizations=tf.constant(0),
                status=status,
                num_accepted_steps=control.accepted,
                num_rejected_steps=control.attempts - control.accepted,
                time=self._clock.time(carry.time),
                step_size=control.step_size,
                first_step_size=tf.where(
                    control.first_step > 0.0, control.first_step, control.step_size
                ),
            ),
            record=carry.record if self._records else None,
            num_recorded=self._control.record_index(control, carry.iteration),
            num_reached=carry.kept.index,
            num_step_evaluations=step_evaluations,
        )
