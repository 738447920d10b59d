# SPDX-License-Identifier: Apache-2.0
"""Energies of an ODE's way, which a loss keeps small so that a solver needs fewer steps for it."""

import dataclasses

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers import tracing
from homoode_tf.solvers.ode.problem import Field, Problem
from homoode_tf.solvers.ode.results import Solution


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


def draw_noise(state: tf.Tensor, seed: keras.random.SeedGenerator) -> tf.Tensor:
    """The e of `add_energy`."""
    noise = keras.random.normal(tf.shape(state), dtype=state.dtype.name, seed=seed)
    return tf.convert_to_tensor(noise)


def of_solution(solution: Solution, error_weight: float) -> tf.Tensor | None:
    """The energy of each sample's way, (batch,), from a problem that measured one."""
    energies = [energy[-1] for energy in solution.states[1:]]
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
