# SPDX-License-Identifier: Apache-2.0
"""What a solve gives: states, counts, and how it ended."""

import collections
import enum
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.errors import UserError
from homoode_tf.solvers.ode.flat import Tensors


class Status(enum.IntEnum):
    """Why a solve ended; negative values are failures, as in `tfp.math.ode.Diagnostics.status`."""

    SUCCESS = 0
    MAX_NUM_STEPS = -1
    NON_FINITE = -2
    STEP_UNDERFLOW = -3
    INVALID_TIMES = -4
    NO_EVENT = -5


class SolverError(UserError, ArithmeticError):
    """A solve failed; `status`, `time` and `step_size` say how far it came.

    They are None where Keras made the error anew, with its message alone, to add the arguments of
    the layer that was called.
    """

    def __init__(
        self,
        message: str,
        status: Status | None = None,
        time: float | None = None,
        step_size: float | None = None,
    ):
        super().__init__(message)
        self.status = status
        self.time = time
        self.step_size = step_size


class Diagnostics(
    collections.namedtuple(
        "Diagnostics",
        [
            "num_ode_fn_evaluations",
            "num_jacobian_evaluations",
            "num_matrix_factorizations",
            "status",
            "num_accepted_steps",
            "num_rejected_steps",
            "time",
            "step_size",
            "first_step_size",
        ],
    ),
    tfp.math.ode.Diagnostics,
):
    """What a solve cost and how it ended.

    With per-sample control the counts of steps, `status`, `time` and the step sizes have shape
    (batch,), and `num_ode_fn_evaluations` counts evaluations of the whole batch.

    Attributes:
      num_ode_fn_evaluations: int32 scalar, evaluations of `ode_fn`.
      num_jacobian_evaluations: int32 scalar, 0.
      num_matrix_factorizations: int32 scalar, 0.
      status: int32, a value of `Status`.
      num_accepted_steps: int32, steps taken.
      num_rejected_steps: int32, steps tried and rejected.
      time: Time that was reached.
      step_size: Step size with which to go on from the final time.
      first_step_size: Step size with which to begin a similar solve from the initial time.
    """

    __slots__ = ()

    @property
    def success(self):
        """Boolean scalar, whether the solve (of every sample) reached the final time."""
        return tf.reduce_all(self.status >= 0)


class SolverInternalState(collections.namedtuple("SolverInternalState", ["step_size"])):
    """What a later solve can start from.

    Attributes:
      step_size: Step size to begin with, not cut by the end of the interval.
    """

    __slots__ = ()


class DenseResults(NamedTuple):
    """`tfp.math.ode.Results` with the solution as a function of time, an `Interpolant`."""

    times: tf.Tensor
    states: Any
    diagnostics: Diagnostics
    solver_internal_state: SolverInternalState
    interpolant: Callable[[Any], Any]


class Record(NamedTuple):
    """Arrays with what it takes to repeat every accepted step.

    With per-sample control every step tried is recorded, with length 0 where a sample stood still.
    """

    times: tf.TensorArray
    step_sizes: tf.TensorArray
    lasts: tf.TensorArray  # Whether the step was cut at its target time.
    indices: tf.TensorArray  # Number of solution times reached before the step.
    states: list[tf.TensorArray]


class Solution(NamedTuple):
    """The result of one integration, on flat lists.

    Attributes:
      times: Shape (n,).
      states: Shapes (n, ...).
      diagnostics: `Diagnostics`, or what a foreign solver has in its place.
      final_state: The state that was reached last.
      integrals: The integrals along the solution.
      record: The steps, where these were recorded.
      num_recorded: How many of them there are.
      num_reached: Number of solution times reached before the end.
      num_step_evaluations: Evaluations within the steps.
      internal_state: What TFP's own solver can go on from.
    """

    times: tf.Tensor
    states: Tensors
    diagnostics: tfp.math.ode.Diagnostics
    final_state: Sequence[tf.Tensor] = ()
    integrals: Sequence[tf.Tensor] = ()
    record: Record | None = None
    num_recorded: tf.Tensor | None = None
    num_reached: tf.Tensor | None = None
    num_step_evaluations: tf.Tensor | None = None
    internal_state: Any = None
