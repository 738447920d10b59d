# SPDX-License-Identifier: Apache-2.0
"""Energies of an ODE's way, which a loss keeps small so that a solver needs fewer steps for it."""

import dataclasses
import functools

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers import tracing
from homoode_tf.solvers.ode.flat import Tensors
from homoode_tf.solvers.ode.problem import Field, Problem
from homoode_tf.solvers.ode.results import Solution


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


def add_error(problem: Problem, solver: tfp.math.ode.Solver) -> Problem:
    """Returns a problem whose last integral is that of the squared error in units of the tolerance.

    Reference:
        Pal et al., "Opening the Blackbox: Accelerating Neural Differential Equations by
        Regularizing Internal Solver Heuristics", ICML 2021, https://arxiv.org/abs/2105.03918
    """
    check_error_is_differentiable(solver)
    shape = solver.settings.control.time_shape(problem.initial_state)
    zero = tf.zeros(shape, problem.initial_time.dtype)
    return dataclasses.replace(problem, measures_error=True, integrals=[*problem.integrals, zero])


def draw(states: Tensors, seed: keras.random.SeedGenerator) -> Tensors:
    """The e of `add_energy`."""
    normal = functools.partial(keras.random.normal, seed=seed)
    draws = [normal(tf.shape(y), dtype=y.dtype.name) for y in states]
    return [tf.convert_to_tensor(noise) for noise in draws]


def of_solution(solution: Solution, number: int, error_weight: float) -> tf.Tensor | None:
    """The energy of each sample's way, (batch,), where it was measured beside `number` states."""
    energies = [energy[-1] for energy in solution.states[number:]]
    # Where the batch has one time its error is one number, too.
    energies += [
        tf.broadcast_to(error_weight * error, tf.shape(solution.states[0])[1:2])
        for error in solution.integrals
    ]
    return tf.add_n(energies) if energies else None


def check_error_is_differentiable(solver: tfp.math.ode.Solver) -> None:
    """Refuses a solver whose error estimates a loss cannot reach."""
    settings = getattr(solver, "settings", None)
    if getattr(settings, "fixed", True) or settings.gradient != "backprop":
        raise InvalidValueError(
            "error_weight needs a solver that controls its steps and has gradient='backprop', got "
            f"{solver!r}."
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
