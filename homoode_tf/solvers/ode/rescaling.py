# SPDX-License-Identifier: Apache-2.0
"""Samples that end at times of their own, on a clock that all of them share."""

import dataclasses

import tensorflow as tf

from homoode_tf.solvers.ode.flat import Tensors, expand
from homoode_tf.solvers.ode.problem import Field, Problem


def rescaled(problem: Problem, times: tf.Tensor) -> Problem:
    """The problem with solution times of each sample's own.

    On the clock s = 0, 1, ..., n a sample is at its times t_0, t_1, ..., t_n, and between them
    z'(s) = (t_i+1 - t_i) F(t(s), z). So solvers and gradients see one time, and the samples' times
    are constants by which they differentiate. The right side jumps at each inner s: stop there.

    Args:
      problem: What to solve; its components have a leading batch dimension.
      times: Shape (n, batch), n being known.
    """
    number = times.shape[0]
    knots = tf.concat([tf.zeros_like(times[:1]) + problem.initial_time, times], 0)

    def bind(constants: Tensors) -> Field:
        field, knots = problem.bind(constants[:-1]), constants[-1]

        def scaled(clock, state):
            index = tf.clip_by_value(tf.cast(tf.floor(clock), tf.int32), 0, number - 1)
            # The same for a clock of each sample and for one of all.
            by_sample = tf.broadcast_to(index, tf.shape(knots)[1:])[:, tf.newaxis]
            low, high = (
                tf.gather(tf.transpose(knots), by_sample + i, batch_dims=1)[:, 0] for i in (0, 1)
            )
            length = high - low
            time = low + (clock - tf.cast(index, clock.dtype)) * length
            return [expand(length, k) * k for k in field(time, state)]

        return scaled

    return dataclasses.replace(
        problem,
        bind=bind,
        constants=[*problem.constants, knots],
        initial_time=tf.zeros_like(problem.initial_time),
        solution_times=tf.range(1, number + 1, dtype=times.dtype),
        differentiable_times=False,
        pace=tf.stop_gradient(tf.reduce_max(tf.abs(knots[1:] - knots[:-1]), 0)),
    )
