# SPDX-License-Identifier: Apache-2.0
"""How a solve ended: status codes, diagnostics, and the errors made of them."""

import collections
import enum

import tensorflow as tf
import tensorflow_probability as tfp

# TensorFlow has no public way to ask whether XLA will compile a graph.
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext


class Status(enum.IntEnum):
    """Why a solve ended; negative values are failures, as in `tfp.math.ode.Diagnostics.status`."""

    SUCCESS = 0
    MAX_NUM_STEPS = -1
    NON_FINITE = -2
    STEP_UNDERFLOW = -3


_REMEDIES = {
    Status.MAX_NUM_STEPS: "max_num_steps was used up before the final time; "
    "raise max_num_steps, loosen rtol and atol, or use a stiff solver such as tfp.math.ode.BDF",
    Status.NON_FINITE: "the state or its derivative is not finite; "
    "check ode_fn for overflow, division by zero and diverging solutions, or shorten the interval",
    Status.STEP_UNDERFLOW: "the step size became too small for the precision of time; "
    "if the solution has no singularity there, loosen rtol and atol, use float64, "
    "or use a stiff solver such as tfp.math.ode.BDF",
}


class SolverError(ArithmeticError):
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


def raise_on_failure(diagnostics: Diagnostics, name: str) -> None:
    """Turns a failure into an error: at once in eager mode, when the graph runs otherwise.

    Args:
      diagnostics: Of the solve that has ended.
      name: Name of the solver, for the message.

    Raises:
      SolverError: In eager mode.
      tf.errors.InvalidArgumentError: From a graph, with the same text.
    """
    worst = tf.argmin(tf.reshape(diagnostics.status, [-1]))
    status, time, step_size = (
        tf.gather(tf.reshape(x, [-1]), worst)
        for x in (diagnostics.status, diagnostics.time, diagnostics.step_size)
    )
    if tf.executing_eagerly():
        if int(status) < 0:
            code = Status(int(status))
            message = (
                f"{name}: {_REMEDIES[code]}. Reached time {float(time):.6g} with step size "
                f"{float(step_size):.6g}; on_failure='return' gives the last state instead."
            )
            raise SolverError(message, code, float(time), float(step_size))
        return
    for code, remedy in _REMEDIES.items():
        tf.debugging.Assert(
            tf.not_equal(status, int(code)),
            [
                f"{name}: {remedy}. Reached time",
                time,
                "with step size",
                step_size,
                "; on_failure='return' gives the last state instead.",
            ],
        )


def nan_on_failure(diagnostics: Diagnostics, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
    """Makes NaN of what a failed solve returns, in a graph that XLA compiles; nothing elsewhere.

    XLA leaves assertions out: without this a solve that was cut short would pass for a whole one.

    Args:
      diagnostics: Of the solve that has ended.
      tensors: What it returns, all of a floating-point or complex dtype.

    Returns:
      The tensors, or tensors like them.
    """
    if not GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
        return tensors
    return [tf.where(diagnostics.success, x, tf.constant(float("nan"), x.dtype)) for x in tensors]
