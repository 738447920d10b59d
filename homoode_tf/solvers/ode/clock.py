# SPDX-License-Identifier: Apache-2.0
"""The clock of a solve: time since its start, in its direction."""

import dataclasses

import tensorflow as tf

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
    """

    start: tf.Tensor
    end: tf.Tensor
    direction: float | tf.Tensor
    targets: tf.Tensor

    @classmethod
    def of(cls, problem: Problem) -> "Clock":
        """The clock of a problem."""
        start, end = problem.initial_time, problem.solution_times[-1]
        known = [tf.get_static_value(x) for x in (start, end)]
        if all(x is not None for x in known):
            direction = -1.0 if known[1] < known[0] else 1.0
        else:
            direction = tf.where(end < start, -tf.ones_like(end), tf.ones_like(end))
        clock = cls(start, end, direction, problem.solution_times)
        return dataclasses.replace(clock, targets=clock.signed(problem.solution_times - start))

    @property
    def span(self) -> tf.Tensor:
        """Length of the interval."""
        return self.targets[-1]

    def signed(self, x: tf.Tensor) -> tf.Tensor:
        """A length on this clock as a difference of times, or the other way round."""
        forwards = isinstance(self.direction, float) and self.direction > 0.0
        return x if forwards else self.direction * x

    def time(self, elapsed: tf.Tensor) -> tf.Tensor:
        """The time at which so much has elapsed; never outside of the interval."""
        time = self.start + self.signed(elapsed)
        low, high = tf.minimum(self.start, self.end), tf.maximum(self.start, self.end)
        inside = tf.minimum(tf.maximum(time, low), high)
        # Rounding alone leads outside, and has no derivative.
        return time + tf.stop_gradient(inside - time)

    def is_valid(self) -> tf.Tensor:
        """Whether the solution times are finite and in order, a boolean scalar."""
        targets = self.targets
        ordered = tf.reduce_all(targets[1:] > targets[:-1]) & (targets[0] >= 0.0)
        return ordered & tf.reduce_all(tf.math.is_finite(targets))
