# SPDX-License-Identifier: Apache-2.0
"""Solves of an ODE layer with everything that they pass on the way."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.layers import ODELayer

_NUM_TIMES = 33


@dataclasses.dataclass(frozen=True)
class Trajectory:
    """A solution z(t) of a batch, at some times.

    Attributes:
        times: float array of shape (n,), from 0 to the layer's final time.
        states: z at these times, float array of shape (n, batch, ...).
        residuals: |z'(t)| = |F(t, z(t); x)|, root mean square over all elements of a sample;
            float64 array of shape (n, batch).
    """

    times: np.ndarray
    states: np.ndarray
    residuals: np.ndarray

    @property
    def mean_states(self) -> np.ndarray:
        """The states averaged over positions, float array of shape (n, batch, channels)."""
        return self.states.mean(axis=tuple(range(2, self.states.ndim - 1)))


@dataclasses.dataclass(frozen=True)
class Solve:
    """One solve of a batch.

    Attributes:
        steps: The start and the end of every step of the solver.
        curve: The same solution at equidistant times, by the solver's own interpolation; the
            steps again where the solver does not interpolate.
        num_evaluations: Evaluations of F that the solve took.
        num_rejected_steps: Steps tried and rejected; None where the solver does not count them.
    """

    steps: Trajectory
    curve: Trajectory
    num_evaluations: int
    num_rejected_steps: int | None

    @property
    def step_sizes(self) -> np.ndarray:
        """Lengths of the steps, float array of shape (number of steps,)."""
        return np.diff(self.steps.times)

    @property
    def shares_start(self) -> bool:
        """Whether all samples of the batch start at the same point."""
        starts = self.steps.states[0]
        return bool((starts == starts[:1]).all())


def follow(
    layer: ODELayer,
    inputs: tf.Tensor,
    call: Callable[..., Any] | None = None,
    num_times: int = _NUM_TIMES,
) -> Solve:
    """Solves as an ODE layer does in evaluation, and keeps the whole way.

    The problem is the layer's own: its initial state, its condition, its dynamics, its solver and
    the first step that it remembers from training. Steps are controlled by batch, so that there
    is one time for all samples.

    Args:
        layer: The layer.
        inputs: What `call` takes.
        call: What runs the layer, once, when it is called as `call(inputs, training=False)`: the
            model that the layer belongs to, for example. None is the layer itself.
        num_times: Number of equidistant times, both ends included; at least 2.

    Returns:
        The `Solve`.

    Raises:
        TypeError: If the layer is no `ODELayer`.
        ValueError: If `call` does not run the layer exactly once.
        SolverError: If the solve fails.

    Example:
        >>> from homoode_tf.layers import ConvDynamics, HomoODE
        >>> solve = follow(HomoODE(ConvDynamics(8, groups=2)), tf.ones([2, 4, 4, 8]))
        >>> solve.curve.states.shape
        (33, 2, 4, 4, 8)
    """
    if not isinstance(layer, ODELayer):
        raise InvalidTypeError(f"layer must be an ODELayer, got a {type(layer).__name__}.")
    if num_times < 2:
        raise InvalidValueError(f"num_times must be at least 2, got {num_times}.")
    solves = []
    with layer.controlling_steps_by("batch"):
        layer._solver = _recording(layer._solver, num_times, solves)
        (call or layer)(inputs, training=False)
    if len(solves) != 1:
        raise InvalidValueError(f"call must run {layer.name!r} once, it did {len(solves)} times.")
    return solves[0]


def _recording(
    solver: tfp.math.ode.Solver, num_times: int, solves: list[Solve]
) -> tfp.math.ode.Solver:
    """A copy of a solver that appends to `solves` what it solves."""
    recorder = copy.copy(solver)

    def solve(ode_fn, initial_time, initial_state, solution_times, constants, **arguments):
        (final_time,) = solution_times
        field = functools.partial(ode_fn, **constants)

        def states_at(times):
            return solver.solve(field, initial_time, initial_state, times, **arguments)

        results = states_at(tfp.math.ode.ChosenBySolver(final_time))
        times, states = results.times.numpy(), results.states
        if times[0] > initial_time:  # BDF leaves the start out
            times = np.insert(times, 0, initial_time)
            states = tf.concat([initial_state[tf.newaxis], states], axis=0)
        # TFP's DormandPrince gives the state again after each step that it rejects.
        times, moved = np.unique(times, return_index=True)
        states = tf.gather(states, moved)
        curve = steps = _trajectory(field, times, states)
        if _interpolates(solver):
            times = np.linspace(initial_time, final_time, num_times)
            inner = states_at(times[1:].tolist()).states
            curve = _trajectory(field, times, tf.concat([initial_state[tf.newaxis], inner], axis=0))
        diagnostics = results.diagnostics
        rejected = getattr(diagnostics, "num_rejected_steps", None)
        solves.append(
            Solve(
                steps=steps,
                curve=curve,
                num_evaluations=int(diagnostics.num_ode_fn_evaluations),
                num_rejected_steps=None if rejected is None else int(rejected),
            )
        )
        return results._replace(times=results.times[-1:], states=results.states[-1:])

    recorder.solve = solve
    return recorder


def _interpolates(solver: tfp.math.ode.Solver) -> bool:
    """Whether the solver takes the same steps wherever its solution is asked for."""
    if isinstance(solver, solvers.RungeKutta):
        return solver.tableau.dense
    return isinstance(solver, tfp.math.ode.DormandPrince)


def _trajectory(
    field: Callable[..., tf.Tensor], times: np.ndarray, states: tf.Tensor
) -> Trajectory:
    residuals = []
    for time, state in zip(times, tf.unstack(states), strict=True):
        derivative = tf.cast(field(tf.constant(time, state.dtype), state), tf.float64)
        squares = tf.square(tf.reshape(derivative, (derivative.shape[0], -1)))
        residuals.append(tf.sqrt(tf.reduce_mean(squares, axis=-1)).numpy())
    return Trajectory(times.astype(np.float64), states.numpy(), np.stack(residuals))
