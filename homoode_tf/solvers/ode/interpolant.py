# SPDX-License-Identifier: Apache-2.0
"""The solution at any time: the dense output of every step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.flat import Tensors, combine
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Solution
from homoode_tf.solvers.ode.settings import Settings
from homoode_tf.solvers.ode.step import Stepper


class Interpolant:
    """The solution of a problem as a function of time, of the method's dense order.

    It is made from the states after the steps, through which gradients go as the solver's mode
    says, and from the slopes of each step, which are evaluated once more, for all of them at once
    and in the common way of differentiation.

    Args:
      problem: What was solved, with `every_step`.
      settings: How.
      solution: The result.
      pack: Makes of a flat state what the user knows.

    Call arguments:
      times: Tensor of any shape, within the interval that was solved.

    Returns:
      The states, of shape (*times.shape, ...); NaN at times outside of the interval.

    Raises:
      ValueError: In eager mode, if a time lies outside of the interval.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        solution: Solution,
        pack: Callable[[Tensors], Any],
    ):
        if settings.gradient == "adjoint":
            # Its states are differentiated at fixed times, those of the other modes at fixed steps.
            start = tf.stop_gradient(problem.initial_time)
            problem = dataclasses.replace(problem, initial_time=start)
        self._clock = Clock.of(problem, settings.stop_times)
        self._states, self._pack = list(solution.states), pack
        stepper = Stepper(
            settings.tableau,
            self._clock,
            problem.stage_field,
            close=True,
            stage_dtype=problem.stage_dtype,
            differentiated=True,
        )
        self._stepper = stepper
        ends = self._clock.signed(solution.times - problem.initial_time)
        self._starts, self._ends = (tf.stop_gradient(x) for x in (ends[:-1], ends[1:]))
        kinds = [tf.TensorSpec(y.shape[1:], y.dtype) for y in self._states]
        self._slopes = tf.map_fn(
            lambda step: [
                [tf.cast(k, y.dtype) for k, y in zip(slope, step[2], strict=True)]
                for slope in stepper.take_step(*step).slopes
            ],
            (self._starts, self._ends - self._starts, [y[:-1] for y in self._states]),
            parallel_iterations=1,
            fn_output_signature=[kinds for _ in settings.tableau.interpolation],
        )

    def __call__(self, times: Any) -> Any:
        return self._pack(self.flat(times))

    def flat(self, times: Any) -> Tensors:
        """The same, as a flat list."""
        start, end = self._clock.start, self._ends[-1]
        times = tf.convert_to_tensor(times, start.dtype)
        elapsed = tf.reshape(self._clock.signed(times - start), [-1])
        # As far as rounding may lead.
        slack = 1e-6 * end
        outside = ~((elapsed >= -slack) & (elapsed <= end + slack))
        if tf.executing_eagerly() and bool(tf.reduce_any(outside)):
            last = float(self._clock.time(end))
            raise InvalidValueError(
                f"times must lie between {float(start):.6g} and {last:.6g}, where the solution is "
                f"known, got {times.numpy().tolist()}: solve to a later time."
            )
        index = tf.searchsorted(self._ends, elapsed)
        index = tf.minimum(index, tf.size(self._ends) - 1)
        begin = tf.gather(self._starts, index)
        length = tf.gather(self._ends, index) - begin
        weights = self._stepper.dense_weights(begin, length, elapsed)
        base = [tf.gather(y, index) for y in self._states]
        slopes = [[tf.gather(k, index) for k in slope] for slope in self._slopes]
        states = combine(base, weights, slopes)
        nan = tf.where(outside, tf.constant(float("nan"), elapsed.dtype), 0.0)
        shape = tf.shape(times)
        found = []
        for y in states:
            y += tf.reshape(tf.cast(nan, y.dtype), [-1] + [1] * (y.shape.rank - 1))
            y_shape = times.shape.concatenate(y.shape[1:])
            found.append(
                tf.ensure_shape(tf.reshape(y, tf.concat([shape, tf.shape(y)[1:]], 0)), y_shape)
            )
        return found
