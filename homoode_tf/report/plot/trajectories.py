# SPDX-License-Identifier: Apache-2.0
"""Solves of an ODE layer with everything that they pass on the way."""

import dataclasses

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


def follow(layer: ODELayer, inputs: tf.Tensor, num_times: int = _NUM_TIMES) -> Solve:
    """Solves as an ODE layer does in evaluation, and keeps the whole way.

    The problem is the layer's own: its initial state, its condition, its dynamics, its solver and
    the first step that it remembers from training. Steps are controlled by batch, so that there
    is one time for all samples.

    Args:
        layer: The layer.
        inputs: What the layer is called with.
        num_times: Number of equidistant times, both ends included; at least 2.

    Returns:
        The `Solve`.

    Raises:
        InvalidTypeError: If the layer is no `ODELayer`.
        InvalidValueError: If `num_times` is too small.
        SolverError: If the solve fails.

    Example:
        >>> import tensorflow as tf
        >>> from homoode_tf.layers import ConvDynamics, HomoODE
        >>> solve = follow(HomoODE(ConvDynamics(8, groups=2)), tf.ones([2, 4, 4, 8]))
        >>> solve.curve.states.shape
        (33, 2, 4, 4, 8)
    """
    if not isinstance(layer, ODELayer):
        raise InvalidTypeError(f"layer must be an ODELayer, got a {type(layer).__name__}.")
    if num_times < 2:
        raise InvalidValueError(f"num_times must be at least 2, got {num_times}.")
    solver = layer.solver
    if isinstance(solver, solvers.RungeKutta):
        solver = solver.replace(step_control="batch")
    every_step = layer.solve(inputs, tfp.math.ode.ChosenBySolver(layer.final_time), solver)
    # TFP's DormandPrince gives the state again after each step that it rejects.
    times, moved = np.unique(every_step.times.numpy(), return_index=True)
    curve = steps = _trajectory(layer, inputs, times, tf.gather(every_step.states, moved, axis=1))
    if _interpolates(solver):
        times = np.linspace(0.0, layer.final_time, num_times)
        inner = layer.solve(inputs, times[1:].tolist(), solver)
        curve = _trajectory(layer, inputs, times[1:], inner.states)
    rejected = getattr(every_step.diagnostics, "num_rejected_steps", None)
    return Solve(
        steps=steps,
        curve=curve,
        num_evaluations=int(every_step.num_evaluations),
        num_rejected_steps=None if rejected is None else int(rejected),
    )


def _interpolates(solver: tfp.math.ode.Solver) -> bool:
    """Whether the solver takes the same steps wherever its solution is asked for."""
    if isinstance(solver, solvers.RungeKutta):
        return solver.tableau.dense
    return isinstance(solver, tfp.math.ode.DormandPrince)


def _trajectory(
    layer: ODELayer, inputs: tf.Tensor, times: np.ndarray, states: tf.Tensor
) -> Trajectory:
    """A solution from its start on, which not every solver gives, with its residuals."""
    problem = layer.problem(layer.prepare(inputs))
    order = [1, 0, *range(2, states.shape.rank)]
    states = tf.transpose(states, order)
    if times[0] > 0:
        times = np.insert(times, 0, 0.0)
        states = tf.concat([problem.initial_state[0][tf.newaxis], states], axis=0)
    residuals = []
    for time, state in zip(times, tf.unstack(states), strict=True):
        (derivative,) = problem.field(tf.constant(time, state.dtype), [state])
        squares = tf.square(tf.reshape(tf.cast(derivative, tf.float64), (state.shape[0], -1)))
        residuals.append(tf.sqrt(tf.reduce_mean(squares, axis=-1)).numpy())
    return Trajectory(times.astype(np.float64), states.numpy(), np.stack(residuals))
