# SPDX-License-Identifier: Apache-2.0
"""The clock of a solve: time since its start, in its direction."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from homoode_tf.solvers.ode.flat import last
from homoode_tf.solvers.ode.problem import Problem


@dataclasses.dataclass(frozen=True)
class Clock:
    """Counts the time that has elapsed since t0, from 0 up, whichever way time runs.

    Steps are planned on it: near 0 it resolves what the time itself cannot, where t0 is large.

    Attributes:
      start: t0, a scalar.
      end: The last of the solution times.
      direction: 1 or -1, a number where it is known.
      targets: The solution times on this clock, shape (n,).
      span: Length of the interval, the last of the targets.
      stop_times: Where steps must end beside, in increasing order once signed; None if nowhere.
      is_checked: Whether the times are known to be in order.
    """

    start: tf.Tensor
    end: tf.Tensor
    direction: float | tf.Tensor
    targets: tf.Tensor
    span: tf.Tensor
    stop_times: tf.Tensor | None = None
    is_checked: bool = False

    @classmethod
    def of(cls, problem: Problem, stop_times: Sequence[float] = ()) -> "Clock":
        """The clock of a problem, with times where the right side jumps."""
        start, end = problem.initial_time, last(problem.solution_times)
        is_checked = problem.direction is not None
        direction = problem.direction
        if direction is None:
            direction = tf.where(end < start, -tf.ones_like(end), tf.ones_like(end))
        stops = tf.constant(stop_times, start.dtype) if stop_times else None
        targets = _signed(problem.solution_times - start, direction)
        span = _signed(end - start, direction)
        return cls(start, end, direction, targets, span, stops, is_checked)

    def signed(self, x: tf.Tensor) -> tf.Tensor:
        """A length on this clock as a difference of times, or the other way round."""
        return _signed(x, self.direction)

    def time(self, elapsed: tf.Tensor) -> tf.Tensor:
        """The time at which so much has elapsed; never outside of the interval."""
        time = self.time_anywhere(elapsed)
        if isinstance(self.direction, float):
            low, high = (self.start, self.end)[:: int(self.direction)]
        else:
            low, high = tf.minimum(self.start, self.end), tf.maximum(self.start, self.end)
        # Rounding alone leads outside, and has no derivative.
        return _moved(time, tf.minimum(tf.maximum(time, low), high))

    def times_in_step(
        self, elapsed: tf.Tensor, length: tf.Tensor, fractions: Sequence[float]
    ) -> list[tf.Tensor]:
        """The times at fractions of a step, on its own side of the stops.

        All at once: for a small state the arithmetic of time would be much of the work.
        """
        shape = [len(fractions)] + [1] * elapsed.shape.rank
        parts = tf.reshape(tf.constant(list(fractions), length.dtype), shape) * length
        return tf.unstack(self.time_of_step(elapsed)(elapsed + parts), num=len(fractions))

    def time_anywhere(self, elapsed: tf.Tensor) -> tf.Tensor:
        """The same beyond the interval's ends, past which TFP's solvers step and interpolate."""
        return self.start + self.signed(elapsed)

    def next_stop(self, elapsed: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        """The next stop after a time on this clock, or the target, whichever comes first."""
        if self.stop_times is None:
            return target
        stops = self.signed(self.stop_times - self.start)
        ahead = stops > elapsed[..., tf.newaxis]
        return tf.minimum(tf.reduce_min(tf.where(ahead, stops, target.dtype.max), -1), target)

    def time_of_step(self, elapsed: tf.Tensor) -> Callable[[tf.Tensor], tf.Tensor]:
        """What tells the times of a step that starts at `elapsed`, on its own side of the stops.

        A step may start and end where the right side jumps, and must not see what lies beyond.
        """
        if self.stop_times is None:
            return self.time
        stops, infinity = self.signed(self.stop_times), tf.constant(float("inf"), elapsed.dtype)
        ahead = self.signed(self.stop_times - self.start) > elapsed[..., tf.newaxis]
        low = tf.reduce_max(tf.where(ahead, -infinity, stops), -1)
        high = tf.reduce_min(tf.where(ahead, stops, infinity), -1)
        low, high = _after(low), -_after(-high)

        def time(elapsed):
            signed = self.signed(self.time(elapsed))
            return self.signed(_moved(signed, tf.minimum(tf.maximum(signed, low), high)))

        return time

    def is_valid(self) -> tf.Tensor:
        """Whether the solution times are finite and in order, a boolean scalar."""
        if self.is_checked:
            return tf.constant(True)
        targets = self.targets
        ordered = tf.reduce_all(targets[1:] > targets[:-1]) & (targets[0] >= 0.0)
        return ordered & tf.reduce_all(tf.math.is_finite(targets))


def _signed(x: tf.Tensor, direction: float | tf.Tensor) -> tf.Tensor:
    forwards = isinstance(direction, float) and direction > 0.0
    return x if forwards else direction * x


def _moved(x: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Another value, exactly, with the derivative of x."""
    return tf.stop_gradient(value) + (x - tf.stop_gradient(x))


def _after(x: tf.Tensor) -> tf.Tensor:
    """The next larger number; next to zero a normal one, for a smaller one counts as zero."""
    tiny = tf.constant(np.finfo(x.dtype.as_numpy_dtype).tiny, x.dtype)
    following = tf.math.nextafter(x, tf.constant(float("inf"), x.dtype))
    beside_zero = tf.where(x < 0.0, tf.zeros_like(x), tiny)
    return tf.where(tf.abs(following) < tiny, beside_zero, following)
