# SPDX-License-Identifier: Apache-2.0
"""How a fixed-point solve ended: its results, the status codes, and the warnings made of them."""

import enum
import functools
import warnings
from typing import NamedTuple

import tensorflow as tf

from homoode_tf.errors import UserError
from homoode_tf.solvers import tracing

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


def report_failure(results: FixedPointResults, name: str, on_failure: str) -> FixedPointResults:
    """Warns of samples that failed, or raises, as `on_failure` says; returns the results.

    A graph warns by a line on the standard error stream, once however often it runs, and raises
    InvalidArgumentError. Compiled by XLA it can do neither: instead of raising it returns NaN.
    """
    if on_failure == "return":
        return results
    if tracing.is_compiled():
        if on_failure == "raise":
            nan = tf.constant(float("nan"), results.state.dtype)
            results = results._replace(state=tf.where(results.success, results.state, nan))
        return results
    failed = tf.reduce_sum(tf.cast(results.status < 0, tf.int32))
    size, worst = tf.size(results.status), tf.reduce_min(results.status)
    residual = tf.reduce_max(tf.where(results.status < 0, results.residual, 0.0))
    if tf.executing_eagerly():
        if not int(failed):
            return results
        remedy = _REMEDIES[FixedPointStatus(int(worst))]
        message = (
            f"{name}: {int(failed)} of {int(size)} samples did not converge: {remedy}. "
            f"Their largest residual is {float(residual):.3g}."
        )
        if on_failure == "raise":
            raise FixedPointError(message)
        warnings.warn(message, FixedPointWarning, stacklevel=4)
        return results
    for code, remedy in _REMEDIES.items():
        text = tf.strings.format(
            f"{name}: {{}} of {{}} samples did not converge: {remedy}. "
            "Their largest residual is {}.",
            [failed, size, residual],
        )
        if on_failure == "raise":
            tf.debugging.Assert(tf.not_equal(worst, int(code)), [text])
        else:
            # Unlike tf.print it counts.
            say = functools.partial(tf.raw_ops.Print, input=failed, data=[text], first_n=1)
            tf.cond(tf.equal(worst, int(code)), lambda say=say: tf.group(say()), tf.no_op)
    return results
