# SPDX-License-Identifier: Apache-2.0
"""The loop with a time, a step size and an acceptance for every sample."""

import tensorflow as tf

from homoode_tf.solvers.ode.loop import Loop
from homoode_tf.solvers.ode.status import Status
from homoode_tf.solvers.ode.step_control import align
from homoode_tf.solvers.ode.stepping import take_step


class SampleLoop(Loop):
    """Steps all samples at once, each by its own step size; finished samples stand still."""

    def _body(self, carry):
        """Tries one step for every sample that is still under way."""
        length, end_time, last = self._length(carry)
        active = (carry.status == int(Status.SUCCESS)) & (carry.time < self._target(carry))
        length = tf.where(active, length, tf.zeros_like(length))
        step = take_step(
            self.tableau,
            self.field,
            carry.time,
            length,
            carry.state,
            carry.slope if self.closes else None,
            estimate=True,
            close=self.closes,
        )
        accept, control = self._control(carry, step, length)
        accept &= active
        # Samples that stand still keep everything they had.
        control = {
            key: tf.where(active, value, getattr(carry, key)) for key, value in control.items()
        }
        record = self._write_record(
            carry,
            carry.iteration,
            tf.where(accept, length, tf.zeros_like(length)),
            last & accept,
        )
        keep = lambda new, old: tf.where(align(accept, old), new, old)  # noqa: E731
        state = [keep(n, o) for n, o in zip(step.state, carry.state, strict=True)]
        slope = tf.nest.map_structure(keep, step.end, carry.slope) if self.closes else ()
        time = tf.where(accept, end_time, carry.time)
        carry = carry._replace(record=record, **control)
        index, outputs = carry.index, carry.outputs
        if not self.single:
            target = self._target(carry)
            arrived = tf.reduce_all((time >= target) | (carry.status != int(Status.SUCCESS)))
            outputs = self._write(outputs, index, state)
            index += tf.cast(arrived, tf.int32)
        return carry._replace(
            time=time,
            state=state,
            slope=slope,
            iteration=carry.iteration + 1,
            index=index,
            outputs=outputs,
        )
