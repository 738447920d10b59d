# SPDX-License-Identifier: Apache-2.0
"""A solve that ends where a function of time and state is zero."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.first_order import once_differentiable
from homoode_tf.solvers.ode import failure
from homoode_tf.solvers.ode.flat import Tensors, expand
from homoode_tf.solvers.ode.loop import Loop
from homoode_tf.solvers.ode.own_gradient import vector_jacobian
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.rescaling import rescaled
from homoode_tf.solvers.ode.results import Solution, Status

# Of the time since the start. What the interpolation is off by is far less.
_LARGEST_CORRECTION = 1e-3
_ADVICE = "the time of an event has first ones alone"
Event = Callable[[tf.Tensor, Tensors], tf.Tensor]


def solve(solver: Any, problem: Problem, event: Event, first_step_size: Any = None) -> Solution:
    """Solves a problem to the first zero of an event, at the latest to the solution time.

    One solve searches, and is not differentiated; a second one ends at the time found, with the
    gradients of the solver's mode. By the implicit function theorem that time tau(p) has

        d tau/dp = -(dg/dp) / (dg/dt + dg/dz F),   d z(tau)/dp = dz/dp + F d tau/dp.

    Args:
      solver: A `RungeKutta`.
      problem: The problem, with one solution time.
      event: g(time, state), real, of the shape of time: () or (batch,).
      first_step_size: As of `RungeKutta.solve_problem`.

    Returns:
      A `Solution` with `times` (1,) or (1, batch) and `states` (1, ...).

    Raises:
      ValueError: If the problem or the event does not fit the solver.
    """
    _check(solver, problem, event)
    settings = solver.settings
    tensors = [tf.stop_gradient(x) for x in problem.tensors]
    search = Loop(problem.of(*tensors), settings, event=event).run(first_step_size)
    name = f"{solver.name}, search for the event"
    found, times = search.diagnostics, [search.times]
    (time,) = failure.check(found, name, times, settings.on_failure, of_event=True)
    time, fired = tf.stop_gradient(time), tf.not_equal(found.status, int(Status.NO_EVENT))
    if time.shape.rank:
        ending = rescaled(problem, time[tf.newaxis])
    else:
        ending = dataclasses.replace(problem, solution_times=time[tf.newaxis])
    ending = dataclasses.replace(ending, advice=_ADVICE)
    solution = solver.solve_problem(ending, None if time.shape.rank else first_step_size)
    state = [y[0] for y in solution.states]
    time, state = _by_implicit_function(problem, event, (time, state), fired, settings.gradient)
    last = solution.diagnostics
    evaluations = found.num_ode_fn_evaluations + last.num_ode_fn_evaluations + 1
    return solution._replace(
        times=time[tf.newaxis],
        states=[y[tf.newaxis] for y in state],
        diagnostics=last._replace(
            num_ode_fn_evaluations=evaluations,
            status=tf.where(tf.equal(last.status, 0), found.status, last.status),
            time=time,
        ),
    )


def _by_implicit_function(problem, event, found, fired, mode) -> tuple[tf.Tensor, Tensors]:
    """Time and state of the event, corrected by one step of Newton's, with their derivatives."""
    time, state = found[0], once_differentiable(mode, found[1], _ADVICE)
    slope = [tf.stop_gradient(k) for k in problem.field(time, state)]
    frozen = [tf.stop_gradient(y) for y in state]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([time, *frozen])
        value = event(time, frozen)
    by_time, *by_state = vector_jacobian(tape, value, [time, *frozen], tf.ones_like(value))
    rate = by_time
    for k, g in zip(slope, by_state, strict=True):
        rate += tf.reduce_sum(k * g, None if not time.shape.rank else range(1, k.shape.rank))
    (value,) = once_differentiable(mode, [event(time, state)], _ADVICE)
    # Without an event there is nothing to correct, and dg/dt may be anything.
    factor = tf.stop_gradient(tf.where(fired, -1.0 / rate, tf.zeros_like(rate)))
    largest = _LARGEST_CORRECTION * tf.abs(time - problem.initial_time)
    change = _correction(value, factor, tf.stop_gradient(largest))
    return time + change, [y + expand(change, y) * k for y, k in zip(state, slope, strict=True)]


@tf.custom_gradient
def _correction(value: tf.Tensor, factor: tf.Tensor, largest: tf.Tensor) -> tf.Tensor:
    """Newton's step where it is small: beside a jump of the event it leads anywhere.

    The derivative there is none, and not finite where the event has no slope.
    """
    change = factor * value
    change = tf.where(tf.abs(change) <= largest, change, tf.zeros_like(change))
    return change, lambda cotangent: (factor * cotangent, None, None)


def _check(solver: Any, problem: Problem, event: Event) -> None:
    settings = solver.settings
    if problem.every_step or problem.solution_times.shape[0] != 1:
        given = "ChosenBySolver" if problem.every_step else problem.solution_times.shape[0]
        raise InvalidValueError(
            "event_fn ends a solve at its own time: give one solution time, the latest there may "
            f"be, got {given}."
        )
    if not settings.tableau.dense:
        raise InvalidValueError(
            f"{settings.tableau.name} has no dense output on which to find a zero of event_fn: "
            "use dopri5 or tsit5."
        )
    by_sample = settings.control.by_sample
    if by_sample and settings.stop_times:
        raise InvalidValueError(
            "stop_times and event_fn exclude each other with step_control='sample': use 'batch'."
        )
    shape = problem.initial_state[0].shape[:1] if by_sample else tf.TensorShape([])
    time = tf.broadcast_to(problem.initial_time, settings.control.time_shape(problem.initial_state))
    value = tf.convert_to_tensor(event(time, problem.initial_state))
    if value.dtype != problem.initial_time.dtype or not value.shape.is_compatible_with(shape):
        raise InvalidValueError(
            f"event_fn must return {problem.initial_time.dtype.name} of shape {shape}, one number "
            f"for each time, got {value.dtype.name} of shape {value.shape}."
        )
