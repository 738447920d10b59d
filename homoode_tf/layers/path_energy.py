# SPDX-License-Identifier: Apache-2.0
"""Energies of an ODE's way, which a loss keeps small so that a solver needs fewer steps for it."""

import dataclasses

import tensorflow as tf

from homoode_tf.solvers import tracing
from homoode_tf.solvers.ode.problem import Field, Problem


def add_energy(
    problem: Problem, kinetic_weight: float, jacobian_weight: float, noise: tf.Tensor | None = None
) -> Problem:
    """Returns a problem that integrates, as its last component, the energy of each sample's way.

    The energy is the integral over the time of

        kinetic_weight |F|^2 / n + jacobian_weight |e^T dF/dz|^2 / n

    with n elements of a sample's state z; over e, standard normal, the mean of the second is the
    square of the Jacobian's Frobenius norm (Hutchinson's estimator).

    Args:
        problem: Of one component z, of shape (batch, ...), real.
        kinetic_weight: At least 0.
        jacobian_weight: At least 0.
        noise: e, of z's shape; only for a Jacobian's weight.

    Returns:
        A problem of two components: z, and the energy so far, of shape (batch,).

    Reference:
        Finlay et al., "How to Train Your Neural ODE: the World of Jacobian and Kinetic
        Regularization", ICML 2020, https://arxiv.org/abs/2002.02798
    """
    (state,) = problem.initial_state
    # e is held through the solve, and a constant of it like any other.
    noises = [noise] if jacobian_weight else []

    def bind(constants):
        field = problem.bind(constants[len(noises) :])

        def with_rate(time, components):
            slope, product = _evaluate(field, time, components[0], constants[: len(noises)])
            rate = 0.0
            if kinetic_weight:
                rate += kinetic_weight * _mean_square(slope, state.dtype)
            if product is not None:
                rate += jacobian_weight * _mean_square(product, state.dtype)
            return [slope, rate]

        return with_rate

    start = tf.zeros(tf.shape(state)[:1], state.dtype)
    return dataclasses.replace(
        problem,
        bind=bind,
        constants=[*noises, *problem.constants],
        initial_state=[state, tf.ensure_shape(start, state.shape[:1])],
    )


def _evaluate(field: Field, time, state, noises):
    """F, and e^T dF/dz where there is an e."""
    if not noises:
        return field(time, [state])[0], None
    state = tracing.local(state)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(state)
        (slope,) = field(time, [state])
    return slope, tape.gradient(slope, state, tf.cast(noises[0], slope.dtype))


def _mean_square(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Of each sample."""
    return tf.reduce_mean(tf.square(tf.cast(x, dtype)), range(1, x.shape.rank))
