# SPDX-License-Identifier: Apache-2.0
"""Stating a problem: from what a user gives, of any structure and dtype, to flat lists."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.checks import check_tolerances
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.solvers.ode import tolerances
from homoode_tf.solvers.ode.flat import Tensors, cast
from homoode_tf.solvers.ode.problem import Field, Problem
from homoode_tf.solvers.ode.settings import Settings

_LOW_PRECISION = (tf.float16, tf.bfloat16)
# Of the interval; rounding may move a time by less.
_LARGEST_LOSS = 1e-3


def of(
    ode_fn: Callable[..., Any],
    initial_time: Any,
    initial_state: Any,
    solution_times: Any,
    constants: Mapping[str, Any] | None = None,
    on_backward: Callable[[tf.Tensor], object] | None = None,
) -> Problem:
    """States the problem z' = ode_fn(t, z, **constants); the arguments are those of `solve`.

    States of low precision become float32, and `ode_fn` still sees its own dtype.
    """
    initial_state = tf.nest.map_structure(tf.convert_to_tensor, initial_state)
    constants = tf.nest.map_structure(tf.convert_to_tensor, dict(constants or {}))
    given = tf.nest.flatten(initial_state)
    state = [tf.cast(y, tf.float32) if y.dtype in _LOW_PRECISION else y for y in given]
    dtype = _common_dtype(state).real_dtype

    def bind(flat_constants: Tensors) -> Field:
        arguments = tf.nest.pack_sequence_as(constants, flat_constants)

        def field(time, flat_state):
            own = [cast(y, x.dtype) for y, x in zip(flat_state, given, strict=True)]
            derivative = ode_fn(time, tf.nest.pack_sequence_as(initial_state, own), **arguments)
            return _flat_derivative(derivative, initial_state, flat_state)

        return field

    every_step = isinstance(solution_times, tfp.math.ode.ChosenBySolver)
    times = [solution_times.final_time] if every_step else solution_times
    problem = Problem(
        bind=bind,
        constants=tf.nest.flatten(constants),
        initial_time=as_times(initial_time, dtype),
        initial_state=state,
        solution_times=as_times(times, dtype),
        every_step=every_step,
        differentiable_times=any(tf.is_tensor(t) for t in tf.nest.flatten((initial_time, times))),
        on_backward=on_backward,
    )
    check_resolution(initial_time, times, dtype)
    return problem


def pack(states: Tensors, initial_state: Any) -> Any:
    """States in the structure and the dtypes of the initial state that was given."""
    given = tf.nest.map_structure(tf.convert_to_tensor, initial_state)
    cast = [tf.cast(y, x.dtype) for y, x in zip(states, tf.nest.flatten(given), strict=True)]
    return tf.nest.pack_sequence_as(given, cast)


def as_times(times: Any, dtype: tf.DType) -> tf.Tensor:
    """Times as a tensor; Python numbers must not pass through float32 on their way to float64.

    Raises:
      InvalidTypeError: If they are no real numbers, or lists of several lengths.
    """
    if tf.is_tensor(times) and not isinstance(times.dtype, tf.DType):
        times = tf.convert_to_tensor(times)  # a Keras variable
    if tf.is_tensor(times) and (times.dtype.is_floating or times.dtype.is_integer):
        return tf.cast(times, dtype)
    try:
        if isinstance(times, (list, tuple)) and any(tf.is_tensor(t) for t in times):
            return tf.stack([as_times(t, dtype) for t in times])
        if not tf.is_tensor(times):
            return tf.convert_to_tensor(times, dtype)
    except (TypeError, ValueError):
        pass
    raise InvalidTypeError(
        f"Times must be real numbers, in a list or in lists of one length, got {times!r}."
    )


def check_resolution(start: Any, times: Any, dtype: tf.DType) -> None:
    """Refuses numbers whose distance from the start is another one in the state's dtype."""
    known = [np.asarray(x) for x in (start, times) if not any(map(_is_unknown, _leaves(x)))]
    plain = len(known) == 2 and all(x.dtype.kind in "iuf" for x in known)
    if not plain or known[0].ndim or not known[1].size:
        return
    exact = known[1].astype(np.float64) - known[0].astype(np.float64)
    held = [x.astype(dtype.as_numpy_dtype).astype(np.float64) for x in known]
    lost = np.abs(held[1] - held[0] - exact)
    if np.isfinite(lost).all() and lost.max() > _LARGEST_LOSS * np.abs(exact).max():
        raise InvalidValueError(
            f"{dtype.name} cannot tell the times apart: from {float(start)} they are "
            f"{exact.tolist()} away, which it makes {(held[1] - held[0]).tolist()}. Count the time "
            "from another start, from 0 say, or take a state of float64."
        )


def _leaves(times: Any) -> list[Any]:
    return list(times) if isinstance(times, (list, tuple)) else [times]


def _is_unknown(time: Any) -> bool:
    """Whether it is a tensor or a variable, in whose dtype the digits are what they are."""
    return tf.is_tensor(time) or isinstance(time, tf.Variable)


def check(problem: Problem, settings: Settings, name: str) -> None:
    """Checks a problem against the solver's settings.

    Times known now are checked now; others end in a status when the graph runs.
    """
    for each in [settings, settings.adjoint if settings.gradient == "adjoint" else None]:
        if each is not None and not each.fixed:  # a foreign solver checks its own
            dtype = problem.initial_state[0].dtype.real_dtype
            pairs = tolerances.of_components(each.rtol, each.atol, problem.initial_state)
            for rtol, atol in pairs:
                least = float(np.min(rtol)), float(np.min(atol))
                check_tolerances(least[0], least[1], dtype.as_numpy_dtype, tolerances.OF_RESOLUTION)
    by_sample = settings.step_control == "sample"
    state, times = problem.initial_state, problem.solution_times
    if by_sample and any(y.shape.rank is None or y.shape.rank < 1 for y in state):
        raise InvalidValueError(
            "step_control='sample' needs a leading batch dimension in every component of "
            f"initial_state, got shapes {[y.shape for y in state]}."
        )
    sizes = {y.shape[0] for y in state if by_sample} - {None}
    if len(sizes) > 1:
        raise InvalidValueError(
            "step_control='sample' needs one batch size for all components of initial_state, got "
            f"shapes {[y.shape for y in state]}."
        )
    check_times(problem)
    if problem.every_step and by_sample:
        raise InvalidValueError(
            "ChosenBySolver needs one time for all: use step_control='batch', got 'sample'."
        )
    if settings.num_steps and times.shape[0] != 1 and not settings.tableau.dense:
        raise InvalidValueError(
            f"{name} with num_steps gives the final time only; use step_size for more."
        )


def check_times(problem: Problem) -> None:
    """Checks the times: their shapes, and their order where they are known."""
    if problem.initial_time.shape.rank != 0:
        raise InvalidValueError(
            f"initial_time must be a scalar, got shape {problem.initial_time.shape}."
        )
    if problem.solution_times.shape.rank != 1:
        raise InvalidValueError(
            f"solution_times must have rank 1, got shape {problem.solution_times.shape}: give a "
            "list of numbers."
        )
    known = _known_times(problem)
    if known:
        check_order("solution_times", *known)


def with_direction(problem: Problem) -> Problem:
    """The problem, whose times were checked, with the direction of time where it is known."""
    known = _known_times(problem)
    if not known:
        return problem
    start, times = known
    return dataclasses.replace(problem, direction=-1.0 if times[-1] < start else 1.0)


def _known_times(problem: Problem) -> list[np.ndarray] | None:
    known = [tf.get_static_value(x) for x in (problem.initial_time, problem.solution_times)]
    return known if all(x is not None for x in known) else None


def check_order(name: str, start: Any, times: np.ndarray) -> None:
    """Refuses times that are not finite, or do not go from the start on in one direction."""
    elapsed = times - start
    elapsed = -elapsed if times.size and elapsed[-1] < 0 else elapsed
    ordered = times.size and elapsed[0] >= 0 and (elapsed[1:] > elapsed[:-1]).all()
    if not (ordered and np.isfinite(elapsed).all()):
        raise InvalidValueError(
            f"{name} must be finite and increase (or decrease) from initial_time on, "
            f"got {times.tolist()} with initial_time {float(start)}."
        )


def check_dense(problem: Problem, settings: Settings, event_fn: Any) -> None:
    """Checks that a solve can give an interpolant."""
    if not settings.tableau.dense:
        raise InvalidValueError(
            f"{settings.tableau.name} has no dense output of its order: use dopri5 or tsit5, or "
            "ask for solution_times, at which it stops."
        )
    if settings.step_control == "sample" or event_fn is not None:
        raise InvalidValueError(
            "dense=True needs one time for all and no event_fn: use step_control='batch', and "
            "solve to the time of the event first."
        )
    check(problem, settings, settings.tableau.name)


def _common_dtype(state: Tensors) -> tf.DType:
    """The one floating or complex dtype of all components."""
    if not state:
        raise InvalidValueError("initial_state must hold at least one tensor, got none.")
    dtypes = {y.dtype for y in state}
    if len(dtypes) > 1 or not (state[0].dtype.is_floating or state[0].dtype.is_complex):
        names = sorted(d.name for d in dtypes)
        raise InvalidTypeError(
            f"initial_state must be of one floating or complex dtype, got {names}."
        )
    return state[0].dtype


def _flat_derivative(derivative: Any, initial_state: Any, flat_state: Tensors) -> Tensors:
    """The derivative, flat, in the dtype of the integration."""
    try:
        tf.nest.assert_same_structure(initial_state, derivative)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(
            "ode_fn must return the structure of initial_state, got another one."
        ) from error
    result = []
    for k, y in zip(tf.nest.flatten(derivative), flat_state, strict=True):
        k = tf.convert_to_tensor(k)
        if k.dtype.is_complex and not y.dtype.is_complex:
            raise InvalidTypeError(
                f"ode_fn returned {k.dtype.name} for a state of {y.dtype.name}, and its imaginary "
                "part would be lost: give a complex initial_state, or return a real derivative."
            )
        k = cast(k, y.dtype)
        if not k.shape.is_compatible_with(y.shape):
            raise InvalidValueError(
                f"ode_fn must return the shapes of its state: got {k.shape} for {y.shape}."
            )
        result.append(k)
    return result
