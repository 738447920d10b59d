# SPDX-License-Identifier: Apache-2.0
"""The loop that carries a state from step to step to the final time."""

import collections
import numbers

import tensorflow as tf

from homoode_tf.solvers.ode.solution import Method, Record, Solution, Task
from homoode_tf.solvers.ode.status import Diagnostics, Status
from homoode_tf.solvers.ode.step_control import error_ratio, initial_step_size, stretched_step_size
from homoode_tf.solvers.ode.stepping import Slope, Tensors, combine, dense_weights, take_step

_Carry = collections.namedtuple(
    "_Carry",
    "time step_size state slope integral ratio rejected first_step accepted attempts status "
    "iteration index outputs record",
)


class Loop:
    """One integration: what stays the same from step to step."""

    def __init__(self, method: Method, task: Task):
        self.method = method
        self.tableau = method.tableau
        self.field = task.field
        self.times = task.solution_times
        self.initial_time = task.initial_time
        self.initial_state = task.state
        self.chosen = task.chosen_by_solver
        self.record = task.record
        self.num_times = self.times.shape[0]
        self.single = self.num_times == 1
        self.final_time = self.times[-1]
        self.span = tf.stop_gradient(self.final_time - self.initial_time)
        self.dtype = self.initial_time.dtype
        self.samples = method.norm == "sample"
        self.batch = tf.shape(task.state[0])[:1] if self.samples else tf.constant([], tf.int32)
        self.interpolates = not self.single and self.tableau.dense and not self.samples
        self.closes = (self.tableau.fsal and not method.fixed) or self.interpolates
        self.estimates = not method.fixed
        # Where the loop itself is differentiated, the slope at the very end is left out of it: the
        # state there does not depend on it.
        self.ends = task.differentiated and self.single and self.tableau.fsal and not method.fixed
        self.cut = (lambda x: x) if task.differentiable_times else tf.stop_gradient
        core = self.tableau.num_stages - self.tableau.fsal
        self.evaluations_per_step = core

    def run(self, integral: Tensors, first_step_size) -> Solution:
        """Runs the loop and gathers its results."""
        slope, step_size, evaluations = self._begin(first_step_size)
        full = lambda value, dtype: tf.fill(self.batch, tf.constant(value, dtype))  # noqa: E731
        carry = _Carry(
            time=tf.broadcast_to(self.initial_time, self.batch),
            step_size=step_size,
            state=list(self.initial_state),
            slope=slope if self.closes else (),
            integral=integral,
            ratio=full(1.0, self.dtype),
            rejected=full(False, tf.bool),
            first_step=full(-1.0, self.dtype),
            accepted=full(0, tf.int32),
            attempts=full(0, tf.int32),
            status=self._initial_status(slope),
            iteration=tf.constant(0),
            index=tf.constant(0),
            outputs=self._make_outputs(),
            record=self._make_record(),
        )
        (carry,) = tf.while_loop(
            lambda c: tf.reduce_any(self._running(c)),
            lambda c: (self._body(c),),
            (carry,),
            parallel_iterations=1,
            maximum_iterations=self.method.largest_number_of_steps,
        )
        return self._finish(carry, evaluations)

    def _begin(self, first_step_size):
        """The slope at the start if it is needed, the first step size, and what they cost."""
        method, time = self.method, tf.broadcast_to(self.initial_time, self.batch)
        slope, evaluations = None, tf.constant(0)
        if self.closes:
            slope = Slope(*self.field(time, self.initial_state, True))
            evaluations += 1
        if method.num_steps is not None:
            # The lengths depend on both ends, also in the eyes of automatic differentiation.
            size = (self.final_time - self.initial_time) / method.num_steps
            return slope, tf.fill(self.batch, self.cut(size)), evaluations
        if method.step_size is not None:
            return (
                slope,
                tf.fill(self.batch, tf.constant(method.step_size, self.dtype)),
                evaluations,
            )

        def choose():
            start = slope or Slope(*self.field(time, self.initial_state, False))
            size = initial_step_size(
                lambda t, y: self.field(t, y, False)[0],
                time,
                self.initial_state,
                start.state,
                self.span,
                self.tableau.error_order,
                method.rtol,
                method.atol,
                method.norm,
            )
            return tf.stop_gradient(size), evaluations + (1 if slope else 2)

        number = isinstance(first_step_size, numbers.Real)
        if first_step_size is None or (number and not first_step_size > 0):
            step_size, evaluations = choose()
            return slope, step_size, evaluations
        if number:
            given = tf.constant(first_step_size, self.dtype)
        else:
            given = tf.stop_gradient(tf.cast(tf.convert_to_tensor(first_step_size), self.dtype))
        given = tf.broadcast_to(given, self.batch) if self.samples else tf.reduce_min(given)
        if number:
            return slope, given, evaluations
        step_size, evaluations = tf.cond(
            tf.reduce_all(given > 0.0), lambda: (tf.identity(given), evaluations), choose
        )
        return slope, step_size, evaluations

    def _initial_status(self, slope):
        """A state that begins with a non-finite slope can go nowhere."""
        success = tf.fill(self.batch, tf.constant(int(Status.SUCCESS)))
        if slope is None or self.method.fixed:
            return success
        finite = self._finite(slope.state)
        return tf.where(finite, success, int(Status.NON_FINITE))

    def _finite(self, tensors: Tensors) -> tf.Tensor:
        """Whether all elements (of each sample) are finite."""
        checks = []
        for tensor in tensors:
            axes = list(range(1, tensor.shape.rank)) if self.samples else None
            # NaN and infinity times zero are NaN, so one sum tells.
            total = tf.reduce_sum(tf.abs(tensor) * 0.0, axes)
            checks.append(tf.math.is_finite(total))
        return tf.reduce_all(tf.stack(checks), axis=0)

    def _array(self, dtype, shape, size, dynamic):
        return tf.TensorArray(
            dtype, size=size, dynamic_size=dynamic, element_shape=shape, clear_after_read=False
        )

    def _make_outputs(self):
        """Arrays of the states at the solution times (and of the times, if the solver chooses)."""
        if self.chosen:
            times = self._array(self.dtype, [], 0, True).write(0, self.initial_time)
            states = [
                self._array(y.dtype, y.shape, 0, True).write(0, y) for y in self.initial_state
            ]
            return [times, *states]
        if self.single:
            return []
        size = self.num_times if self.num_times is not None else tf.size(self.times)
        return [self._array(y.dtype, y.shape, size, False) for y in self.initial_state]

    def _make_record(self):
        if not self.record:
            return ()
        limit, fixed = self.method.largest_number_of_steps, self.method.records_fixed_arrays
        make = lambda dtype, shape: self._array(  # noqa: E731
            dtype, shape, limit if fixed else 0, not fixed
        )
        batch = self.initial_state[0].shape[:1] if self.samples else []
        return Record(
            make(self.dtype, batch),
            make(self.dtype, batch),
            make(tf.bool, batch),
            make(tf.int32, []),
            [make(y.dtype, y.shape) for y in self.initial_state],
        )

    def _target(self, carry) -> tf.Tensor:
        """The time that the next step must not pass."""
        if self.single or self.interpolates:
            return self.final_time
        return tf.gather(self.times, carry.index)

    def _running(self, carry):
        going = carry.status == int(Status.SUCCESS)
        if self.samples and not self.single:
            return going & (carry.index < tf.size(self.times))
        return going & (carry.time < self.final_time)

    def _fixed_length(self, carry):
        """Length, end and lastness of the next step of a fixed-step method."""
        method, target = self.method, self._target(carry)
        if method.num_steps is not None:
            count = carry.accepted + 1
            last = count >= method.num_steps
            ends = self.initial_time + tf.cast(count, self.dtype) * carry.step_size
            return carry.step_size, tf.where(last, target, ends), last
        last = carry.time + carry.step_size * (1.0 + 1e-3) >= target
        length = tf.where(last, self.cut(target - carry.time), carry.step_size)
        return length, tf.where(last, target, carry.time + length), last

    def _length(self, carry):
        """Length, end and lastness of the next step: the last one ends exactly at the target."""
        target = self._target(carry)
        length, last = stretched_step_size(carry.step_size, target - carry.time)
        length = tf.where(last, self.cut(target - carry.time), tf.stop_gradient(length))
        return length, tf.where(last, target, carry.time + length), last

    def _body(self, carry):
        """Tries one step for the whole batch."""
        method = self.method
        length, end_time, last = (self._fixed_length if method.fixed else self._length)(carry)
        step = take_step(
            self.tableau,
            self.field,
            carry.time,
            length,
            carry.state,
            carry.slope if self.closes else None,
            estimate=self.estimates,
            close=self.closes,
            final=last if self.ends else None,
        )
        record = self._write_record(carry, carry.accepted, length, last)
        slope = step.end if self.closes else ()
        integral = [q + dq for q, dq in zip(carry.integral, step.integral, strict=True)]
        if method.fixed:
            accept = tf.constant(True)
            moved = (end_time, step.state, slope, integral)
            control = {"accepted": carry.accepted + 1, "attempts": carry.attempts + 1}
        else:
            accept, control = self._control(carry, step, length)
            # A branch and not a selection: whichever way it goes, no state is copied.
            moved = tf.cond(
                accept,
                lambda: (end_time, step.state, slope, integral),
                lambda: (carry.time, carry.state, carry.slope, carry.integral),
            )
        carry = carry._replace(record=record, **control)
        index, outputs = self._write_outputs(carry, step, accept, length, moved, last)
        time, state, slope, integral = moved
        return carry._replace(
            time=time,
            state=state,
            slope=slope,
            integral=integral,
            iteration=carry.iteration + 1,
            index=index,
            outputs=outputs,
        )

    def _control(self, carry, step, length):
        """Judges the step and chooses the length of the next."""
        method = self.method
        length = tf.stop_gradient(length)
        ratio = tf.stop_gradient(
            error_ratio(
                [[tf.stop_gradient(e) for e in row] for row in step.errors],
                [tf.stop_gradient(y) for y in carry.state],
                [tf.stop_gradient(y) for y in step.state],
                method.rtol,
                method.atol,
                method.norm,
            )
        )
        accept = ratio <= 1.0
        factor = method.controller.factor(ratio, carry.ratio, carry.rejected)
        step_size = method.controller.propose(carry.step_size, length, factor)
        first = accept & (carry.first_step < 0.0)
        # Time cannot resolve steps smaller than this.
        scale = tf.maximum(tf.abs(carry.time), self.span)
        smallest = 4.0 * self.dtype.as_numpy_dtype(_epsilon(self.dtype)) * scale
        stuck = ~accept & (step_size < tf.stop_gradient(smallest))
        failure = tf.where(
            tf.math.is_finite(ratio), int(Status.STEP_UNDERFLOW), int(Status.NON_FINITE)
        )
        return accept, {
            "step_size": step_size,
            "ratio": tf.where(accept, tf.maximum(ratio, 1e-4), carry.ratio),
            "rejected": ~accept,
            "first_step": tf.where(first, step_size, carry.first_step),
            "accepted": carry.accepted + tf.cast(accept, tf.int32),
            "attempts": carry.attempts + 1,
            "status": tf.where(stuck, failure, carry.status),
        }

    def _write_record(self, carry, index, length, last):
        """A rejected step's entry is overwritten by the next try."""
        if not self.record:
            return ()
        times, lengths, lasts, indices, states = carry.record
        return Record(
            times.write(index, carry.time),
            lengths.write(index, length),
            lasts.write(index, last),
            indices.write(index, carry.index),
            [array.write(index, y) for array, y in zip(states, carry.state, strict=True)],
        )

    def _write_outputs(self, carry, step, accept, length, moved, last):
        """Writes what the step has reached; `carry` still holds the time and state before it."""
        time, state, _, _ = moved
        if self.chosen:
            arrays = [
                array.write(carry.accepted, value)
                for array, value in zip(carry.outputs, [time, *state], strict=True)
            ]
            return carry.index, arrays
        if self.single:
            return carry.index, carry.outputs
        if not self.interpolates:
            reached = tf.cast(accept & last, tf.int32)
            return carry.index + reached, self._write(carry.outputs, carry.index, state)

        def inner(index, arrays):
            target = tf.gather(self.times, index)
            weights = dense_weights(self.tableau, carry.time, length, target)
            values = combine(carry.state, weights, step.stages)
            return index + 1, self._write(arrays, index, values)

        before_last = tf.size(self.times) - 1
        return tf.while_loop(
            lambda index, _: (
                accept
                & (index < before_last)
                & (tf.gather(self.times, tf.minimum(index, before_last)) <= time)
            ),
            inner,
            (carry.index, carry.outputs),
            parallel_iterations=1,
            maximum_iterations=None if self.num_times is None else self.num_times,
        )

    def _write(self, arrays, index, values):
        return [array.write(index, value) for array, value in zip(arrays, values, strict=True)]

    def _finish(self, carry, initial_evaluations) -> Solution:
        """Gathers states, counts and the reason for the end."""
        status = carry.status
        unfinished = (status == int(Status.SUCCESS)) & (carry.time < self.final_time)
        status = tf.where(unfinished, int(Status.MAX_NUM_STEPS), status)
        if self.method.fixed:
            finite = self._finite(carry.state)
            status = tf.where(finite, status, int(Status.NON_FINITE))
        times, states = self.times, None
        if self.chosen:
            times, *states = [array.stack() for array in carry.outputs]
        elif self.single:
            states = [y[tf.newaxis] for y in carry.state]
        else:
            size = tf.size(self.times)
            # The final time, and after a failure every time that was not reached.
            _, arrays = tf.while_loop(
                lambda index, _: index < size,
                lambda index, arrays: (index + 1, self._write(arrays, index, carry.state)),
                (carry.index, carry.outputs),
                parallel_iterations=1,
                maximum_iterations=self.num_times,
            )
            states = [array.stack() for array in arrays]
        step_evaluations = carry.iteration * self.evaluations_per_step
        return Solution(
            times=times,
            states=states,
            final_state=carry.state,
            integral=carry.integral,
            end=carry.slope if self.closes else None,
            diagnostics=Diagnostics(
                num_ode_fn_evaluations=initial_evaluations + step_evaluations,
                num_jacobian_evaluations=tf.constant(0),
                num_matrix_factorizations=tf.constant(0),
                status=status,
                num_accepted_steps=carry.accepted,
                num_rejected_steps=carry.attempts - carry.accepted,
                time=carry.time,
                step_size=carry.step_size,
                first_step_size=tf.where(carry.first_step > 0.0, carry.first_step, carry.step_size),
            ),
            record=carry.record if self.record else None,
            num_recorded=carry.iteration if self.samples else carry.accepted,
            num_reached=carry.index,
            num_step_evaluations=step_evaluations,
        )


def _epsilon(dtype: tf.DType) -> float:
    return 2.0**-52 if dtype == tf.float64 else 2.0**-23
