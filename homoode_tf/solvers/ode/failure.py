# SPDX-License-Identifier: Apache-2.0
"""What becomes of a solve that failed: an error with a remedy, NaN under XLA, or a status."""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

from homoode_tf.solvers import tracing
from homoode_tf.solvers.ode.flat import Tensors
from homoode_tf.solvers.ode.results import Diagnostics, SolverError, Status

_REMEDIES = {
    Status.MAX_NUM_STEPS: "max_num_steps was used up before the final time; "
    "raise max_num_steps, loosen rtol and atol, or use 'bdf', the solver for stiff problems",
    Status.NON_FINITE: "the state or its derivative is not finite; "
    "check ode_fn for overflow, division by zero and diverging solutions, or shorten the interval",
    Status.STEP_UNDERFLOW: "the step size became too small for the precision of time; "
    "if the solution has no singularity there, loosen rtol and atol, use float64, "
    "or use 'bdf', the solver for stiff problems",
    Status.INVALID_TIMES: "solution_times must be finite and go from initial_time on in one "
    "direction, all increasing or all decreasing",
}
_REMEDIES_OF_EVENTS = _REMEDIES | {
    Status.NO_EVENT: "event_fn did not change its sign up to the final time; "
    "solve to a later time, or, if it may have done so twice within a step, set max_step_size",
}


_AS_NAN: contextvars.ContextVar[bool] = contextvars.ContextVar("failures_as_nan", default=False)


@contextlib.contextmanager
def failures_as_nan() -> Iterator[None]:
    """Within this scope, where a graph is traced, a failure is NaN as under XLA, and no error.

    For who looks at all results anyway: an error ends a step by half, and at other times for each
    worker. It reaches the solvers of this package alone.
    """
    token = _AS_NAN.set(True)
    try:
        yield
    finally:
        _AS_NAN.reset(token)


def check(
    diagnostics: Diagnostics,
    name: str,
    tensors: Tensors,
    on_failure: str,
    advice: str = "",
    of_event: bool = False,
) -> Tensors:
    """What a solve returns: its tensors, unless it failed and that is not to be returned.

    Args:
      diagnostics: Of the solve that has ended.
      name: Name of the solver, for the message.
      tensors: What it returns, all of a floating-point or complex dtype.
      on_failure: "raise" or "return".
      advice: What else may help; "" is to look at the last state.
      of_event: Whether it was to end at an event.

    Returns:
      The tensors, or tensors like them.

    Raises:
      SolverError: In eager mode.
      tf.errors.InvalidArgumentError: From a graph, with the same text.
    """
    if on_failure == "return":
        return tensors
    if _AS_NAN.get() and not tf.executing_eagerly():
        return _nan_on_failure(diagnostics, tensors)
    advice = advice or "on_failure='return' gives the last state instead"
    remedies = _REMEDIES_OF_EVENTS if of_event else _REMEDIES
    assertions = _raise_on_failure(diagnostics, name, advice, remedies)
    if not (tf.executing_eagerly() or tf.compat.v1.get_default_graph().building_function):
        # In a graph for a session nothing runs that no result depends on.
        with tf.control_dependencies(assertions):
            tensors = [tf.identity(x) for x in tensors]
    if not tracing.is_compiled():
        return tensors
    # XLA leaves assertions out: a solve that was cut short would pass for a whole one.
    return _nan_on_failure(diagnostics, tensors)


def _nan_on_failure(diagnostics: Diagnostics, tensors: Tensors) -> Tensors:
    return [tf.where(diagnostics.success, x, tf.constant(float("nan"), x.dtype)) for x in tensors]


def _worst(status: tf.Tensor, *tensors: tf.Tensor) -> Tensors:
    """The lowest status of the batch, and what else is known of that sample."""
    if status.shape.rank == 0:
        return [status, *tensors]
    # With one entry more, for an empty batch has none.
    flat = [tf.concat([tf.reshape(x, [-1]), tf.zeros([1], x.dtype)], 0) for x in (status, *tensors)]
    return [tf.gather(x, tf.argmin(flat[0])) for x in flat]


def _raise_on_failure(
    diagnostics: Diagnostics, name: str, advice: str, remedies: dict[Status, str]
) -> list[tf.Operation]:
    """Turns a failure into an error: at once in eager mode, when the graph runs otherwise."""
    status, time, step_size = _worst(diagnostics.status, diagnostics.time, diagnostics.step_size)
    if tf.executing_eagerly():
        if int(status) < 0:
            code = Status(int(status))
            message = (
                f"{name}: {remedies[code]}. Reached time {float(time):.6g} with step size "
                f"{float(step_size):.6g}; {advice}."
            )
            raise SolverError(message, code, float(time), float(step_size))
        return []
    reached = list(map(tf.convert_to_tensor, ["Reached time", time, "with step size", step_size]))
    # Not tf.debugging's, each of which would make a branch of two functions.
    return [
        tf.raw_ops.Assert(
            condition=tf.not_equal(status, int(code)),
            data=[f"{name}: {remedy}.", *reached, f"; {advice}."],
        )
        for code, remedy in remedies.items()
    ]
