# SPDX-License-Identifier: Apache-2.0
"""What a layer's solve gives, with the batch first."""

from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.layers import path_energy
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Solution


class ODESolution(NamedTuple):
    """The solution of a layer's ODE.

    Attributes:
        states: z at the times asked for, shape (batch, times, ...), in the layer's `state_dtype`;
            a nest of such tensors where the state is one.
        times: Shape (times,), or (batch, times) where each sample has its own.
        num_evaluations: int32 scalar, evaluations of F for the whole batch.
        status: int32 scalar or (batch,), a value of `homoode_tf.solvers.Status`.
        diagnostics: The solver's own account; see `homoode_tf.solvers.Diagnostics`.
        energy: Shape (batch,), of the way in training with a weight for it, and None otherwise.
    """

    states: Any
    times: tf.Tensor
    num_evaluations: tf.Tensor
    status: tf.Tensor
    diagnostics: tfp.math.ode.Diagnostics
    energy: tf.Tensor | None = None

    @property
    def final_state(self) -> Any:
        """Z at the last of the times, shape (batch, ...)."""

        def last(states: tf.Tensor) -> tf.Tensor:
            # Of a single time no part has to be copied.
            return tf.squeeze(states, 1) if states.shape[1] == 1 else states[:, -1]

        return tf.nest.map_structure(last, self.states)


def of(solution: Solution, problem: Problem, has_event: bool, error_weight: float) -> ODESolution:
    """What a layer makes of a solver's solution: nests, and the batch first."""
    number = len(tf.nest.flatten(problem.structure))
    pairs = zip(solution.states[:number], problem.initial_state, strict=False)
    states = [_batch_first(y, like) for y, like in pairs]
    times = solution.times
    if problem.pace is not None:
        times = tf.transpose(problem.constants[-1][1:])
    return ODESolution(
        problem.pack(states),
        tf.transpose(times) if times.shape.rank == 2 and has_event else times,
        solution.diagnostics.num_ode_fn_evaluations,
        solution.diagnostics.status,
        solution.diagnostics,
        path_energy.of_solution(solution, number, error_weight),
    )


def _batch_first(states: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    if states.shape[0] == 1:
        states = tf.expand_dims(states[0], 1)
    else:
        order = [1, 0, *range(2, states.shape.rank)]
        states = tf.transpose(states, order)
    states.set_shape([like.shape[0], states.shape[1], *like.shape[1:]])
    return states
