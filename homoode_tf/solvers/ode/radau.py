# SPDX-License-Identifier: Apache-2.0
"""One step of the Radau IIA method of order 5, and its derivative: implicit, for stiff problems.

With the stages Z_i = z + h sum_j a_ij F(t + c_j h, Z_j), the last of which is the end of the step.

Reference: Hairer and Wanner, Solving Ordinary Differential Equations II, IV.5.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

_S = np.sqrt(6.0)
_NODES = np.array([(4.0 - _S) / 10.0, (4.0 + _S) / 10.0, 1.0])
_A = np.array(
    [
        [(88.0 - 7.0 * _S) / 360.0, (296.0 - 169.0 * _S) / 1800.0, (-2.0 + 3.0 * _S) / 225.0],
        [(296.0 + 169.0 * _S) / 1800.0, (88.0 + 7.0 * _S) / 360.0, (-2.0 - 3.0 * _S) / 225.0],
        [(16.0 - _S) / 36.0, (16.0 + _S) / 36.0, 1.0 / 9.0],
    ]
)
NUM_STAGES = len(_NODES)
_MAX_ITERATIONS = 12

Field = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Stages(NamedTuple):
    """The solution of a step's equations.

    Attributes:
      values: Z, shape (stages, n).
      converged: Whether Newton's iteration ended, a boolean scalar.
      num_iterations: How many there were, each with an evaluation of F for each stage.
    """

    values: tf.Tensor
    converged: tf.Tensor
    num_iterations: tf.Tensor


def times(start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """The stages' times."""
    return start + tf.constant(_NODES, start.dtype) * length


def solve(field: Field, when: tf.Tensor, length: tf.Tensor, guess: tf.Tensor, tolerance: Callable):
    """Solves the step's equations by Newton's iteration, its matrix taken at the guess.

    Args:
      field: F(t, z) of vectors z.
      when: The stages' `times`.
      length: h.
      guess: The state at the start of the step, then a guess of Z: shape (1 + stages, n).
      tolerance: Of a vector z, how far each element may be from the solution.

    Returns:
      The `Stages`.
    """
    state, stages = guess[0], guess[1:]
    weights = length * tf.constant(_A, stages.dtype)
    factors = tf.linalg.lu(_matrix(field, when, weights, stages))

    def improve(carry: Stages) -> tuple[Stages]:
        z = carry.values
        residual = state + tf.matmul(weights, _slopes(field, when, z)) - z
        change = tfp.math.lu_solve(*factors, tf.reshape(residual, [-1, 1]))
        change = tf.reshape(change, tf.shape(z))
        done = tf.reduce_all(tf.abs(change) <= tolerance(z))
        return (Stages(z + change, done, carry.num_iterations + 1),)

    start = Stages(stages, tf.constant(False), tf.constant(0))
    (found,) = tf.while_loop(
        lambda carry: ~carry.converged,
        improve,
        (start,),
        maximum_iterations=_MAX_ITERATIONS,
        parallel_iterations=1,
    )
    return found


def transpose(
    field: Field, when: tf.Tensor, length: tf.Tensor, stages: tf.Tensor, cotangent: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """From dL/d(end of the step) those by its start, and by the slopes of the stages.

    Args:
      field: F(t, z).
      when: The stages' `times`.
      length: h.
      stages: Z.
      cotangent: dL/dZ_3.

    Returns:
      Shapes (n,) and (stages, n).
    """
    weights = length * tf.constant(_A, stages.dtype)
    matrix = _matrix(field, when, weights, stages)
    last = tf.concat([tf.zeros_like(stages[1:]), cotangent[tf.newaxis]], 0)
    solved = tf.linalg.solve(matrix, tf.reshape(last, [-1, 1]), adjoint=True)
    solved = tf.reshape(solved, tf.shape(stages))
    return tf.reduce_sum(solved, 0), tf.matmul(weights, solved, transpose_a=True)


def _slopes(field, when, stages):
    return tf.stack([field(when[i], stages[i]) for i in range(NUM_STAGES)])


def _matrix(field, when, weights, stages):
    """I - h A x J, with the Jacobian at each stage."""
    jacobians = tf.stack([_jacobian(field, when[i], stages[i]) for i in range(NUM_STAGES)])
    size = tf.size(stages)
    product = tf.reshape(tf.einsum("ij,jab->iajb", weights, jacobians), [size, size])
    return tf.eye(size, dtype=stages.dtype) - product


def _jacobian(field, time, state):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(state)
        slope = field(time, state)
    return tape.jacobian(slope, state, unconnected_gradients=tf.UnconnectedGradients.ZERO)
