# SPDX-License-Identifier: Apache-2.0
"""Integration on flat lists of tensors: the one entry to the loops."""

import tensorflow as tf

from homoode_tf.solvers.loop import Loop
from homoode_tf.solvers.per_sample import SampleLoop
from homoode_tf.solvers.solution import Method, Solution
from homoode_tf.solvers.stepping import Field, Tensors


def integrate(
    method: Method,
    field: Field,
    initial_time: tf.Tensor,
    state: Tensors,
    solution_times: tf.Tensor,
    *,
    chosen_by_solver: bool = False,
    first_step_size: tf.Tensor | None = None,
    integral: Tensors = (),
    record: bool = False,
    differentiable_times: bool = True,
) -> Solution:
    """Integrates from `initial_time` to the last of `solution_times`.

    Args:
      method: How to step.
      field: The vector field, on flat lists.
      initial_time: Scalar.
      state: Initial state, a list of components.
      solution_times: Shape (n,), increasing.
      chosen_by_solver: Return the state after every step; `solution_times` then has one entry.
      first_step_size: Scalar, or (batch,) with per-sample control; None, or a value that is not
        positive, asks for Hairer's choice.
      integral: Initial values of the integrals that ride along.
      record: Whether to record the accepted steps.
      differentiable_times: Whether the lengths of the steps cut at solution times depend on these
        times in the eyes of automatic differentiation.

    Returns:
      A `Solution`.
    """
    loop = SampleLoop if method.norm == "sample" else Loop
    return loop(
        method,
        field,
        initial_time,
        state,
        solution_times,
        chosen_by_solver,
        record,
        differentiable_times,
    ).run(list(integral), first_step_size)
