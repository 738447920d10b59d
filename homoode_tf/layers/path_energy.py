# SPDX-License-Identifier: Apache-2.0
"""Energies of an ODE's way, which a loss keeps small so that a solver needs fewer steps for it."""

import dataclasses

import tensorflow as tf

from homoode_tf.solvers import tracing
from homoode_tf.solvers.ode.flat import Tensors
from homoode_tf.solvers.ode.problem import Field, Problem


def add_energy(
    problem: Problem, kinetic_weight: float, jacobian_weight: float, noises: Tensors
) -> Problem:
    """Returns a problem that integrates, as its last component, the energy of each sample's way.

    The energy is the integral over the time of

        kinetic_weight |F|^2 / n + jacobian_weight |e^T dF/dz|^2 / n

    with n elements of a sample's state z; over e, standard normal, the mean of the second is the
    square of the Jacobian's Frobenius norm (Hutchinson's estimator). Of a state of several
    components it is the sum of theirs.

    Args:
        problem: Of components of shape (batch, ...), real.
        kinetic_weight: At least 0.
        jacobian_weight: At least 0.
        noises: e, of z's shapes; empty without a Jacobian's weight.

    Returns:
        A problem of one component more: the energy so far, of shape (batch,).

    Reference:
        Finlay et al., "How to Train Your Neural ODE: the World of Jacobian and Kinetic
        Regularization", ICML 2020, https://arxiv.org/abs/2002.02798
    """
    states, number = problem.initial_state, len(noises)
    dtype = states[0].dtype

    # e is held through the solve, and a constant of it like any other.
    def bind(constants):
        field = problem.bind(constants[number:])

        def with_rate(time, components):
            slopes, products = _evaluate(field, time, components[:-1], constants[:number])
            rate = 0.0
            if kinetic_weight:
                rate += kinetic_weight * _mean_square(slopes, dtype)
            if products:
                rate += jacobian_weight * _mean_square(products, dtype)
            return [*slopes, rate]

        return with_rate

    start = tf.zeros(tf.shape(states[0])[:1], dtype)
    return dataclasses.replace(
        problem,
        bind=bind,
        constants=[*noises, *problem.constants],
        initial_state=[*states, tf.ensure_shape(start, states[0].shape[:1])],
    )


def _evaluate(field: Field, time, states, noises):
    """F, and e^T dF/dz where there is an e."""
    if not noises:
        return field(time, states), []
    states = tracing.local(states)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(states)
        slopes = field(time, states)
    cotangents = [tf.cast(e, k.dtype) for e, k in zip(noises, slopes, strict=True)]
    return slopes, tape.gradient(slopes, states, cotangents, unconnected_gradients="zero")


def _mean_square(xs: Tensors, dtype: tf.DType) -> tf.Tensor:
    """Of each sample."""
    axes = lambda x: range(1, x.shape.rank)  # noqa: E731
    return tf.add_n([tf.reduce_mean(tf.square(tf.cast(x, dtype)), axes(x)) for x in xs])
