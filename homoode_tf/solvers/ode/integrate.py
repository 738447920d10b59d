# SPDX-License-Identifier: Apache-2.0
"""Integration on flat lists of tensors: the one entry to the loops."""

import tensorflow as tf

from homoode_tf.solvers.ode.loop import Loop
from homoode_tf.solvers.ode.per_sample import SampleLoop
from homoode_tf.solvers.ode.solution import Method, Solution, Task
from homoode_tf.solvers.ode.stepping import Tensors


def integrate(
    method: Method,
    task: Task,
    *,
    first_step_size: tf.Tensor | None = None,
    integral: Tensors = (),
) -> Solution:
    """Integrates from the initial time to the last of the solution times.

    Args:
      method: How to step.
      task: What to integrate.
      first_step_size: Scalar, or (batch,) with per-sample control; None, or a value that is not
        positive, asks for Hairer's choice.
      integral: Initial values of the integrals that ride along.

    Returns:
      A `Solution`.
    """
    loop = SampleLoop if method.norm == "sample" else Loop
    return loop(method, task).run(list(integral), first_step_size)
