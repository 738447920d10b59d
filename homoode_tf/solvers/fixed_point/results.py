# SPDX-License-Identifier: Apache-2.0
"""How a fixed-point solve ended: its results, the status codes, and the warnings made of them."""

import enum
import sys
import warnings
from typing import NamedTuple

import tensorflow as tf

from homoode_tf.errors import UserError

ON_FAILURE = ("warn", "raise", "return")


class FixedPointStatus(enum.IntEnum):
    """Why the iteration for a sample ended; negative values are failures."""

    CONVERGED = 0
    MAX_NUM_ITERATIONS = -1
    NON_FINITE = -2


_REMEDIES = {
    FixedPointStatus.MAX_NUM_ITERATIONS: "max_num_iterations was used up before the residual met "
    "rtol and atol: the map may have no fixed point or not contract; raise max_num_iterations, "
    "loosen the tolerances, lower damping, or try another solver",
    FixedPointStatus.NON_FINITE: "the map returned values that are not finite; "
    "lower damping, or scale the map down",
}


class FixedPointWarning(UserWarning):
    """Some samples have no fixed point within the tolerances; their best iterate was returned."""


class FixedPointError(UserError, ArithmeticError):
    """The same, with on_failure="raise"."""


class FixedPointResults(NamedTuple):
    """The result of a fixed-point solve.

    Attributes:
      state: The best iterate of each sample, in the shape of the initial state.
      residual: Its residual, the root mean square of g(z) - z over a sample; shape (batch,).
      status: int32 of shape (batch,), values of `FixedPointStatus`.
      num_iterations: int32 of shape (batch,), iterations until each sample stood still.
      num_evaluations: int32 scalar, evaluations of g for the whole batch; a Jacobian-vector product
        counts as one.
    """

    state: tf.Tensor
    residual: tf.Tensor
    status: tf.Tensor
    num_iterations: tf.Tensor
    num_evaluations: tf.Tensor

    @property
    def success(self) -> tf.Tensor:
        """Boolean scalar, whether every sample has converged."""
        return tf.reduce_all(self.status >= 0)


def report_failure(results: FixedPointResults, name: str, on_failure: str) -> None:
    """Warns of samples that failed, or raises, as `on_failure` says.

    A graph warns by a line on the standard error stream, and raises InvalidArgumentError.
    """
    if on_failure == "return":
        return
    failed = tf.reduce_sum(tf.cast(results.status < 0, tf.int32))
    size, worst = tf.size(results.status), tf.reduce_min(results.status)
    residual = tf.reduce_max(tf.where(results.status < 0, results.residual, 0.0))
    if tf.executing_eagerly():
        if not int(failed):
            return
        remedy = _REMEDIES[FixedPointStatus(int(worst))]
        message = (
            f"{name}: {int(failed)} of {int(size)} samples did not converge: {remedy}. "
            f"Their largest residual is {float(residual):.3g}."
        )
        if on_failure == "raise":
            raise FixedPointError(message)
        warnings.warn(message, FixedPointWarning, stacklevel=4)
        return
    for code, remedy in _REMEDIES.items():
        parts = [f"{name}:", failed, "of", size, f"samples did not converge: {remedy}."]
        parts += ["Their largest residual is", residual]
        if on_failure == "raise":
            tf.debugging.Assert(tf.not_equal(worst, int(code)), parts)
        else:
            tf.cond(
                tf.equal(worst, int(code)),
                lambda parts=parts: tf.group(tf.print(*parts, output_stream=sys.stderr)),
                tf.no_op,
            )
