# SPDX-License-Identifier: Apache-2.0
"""One step of an explicit Runge-Kutta method on a flat list of tensors."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from homoode_tf.solvers.ode.step_control import expand
from homoode_tf.solvers.ode.tableau import ButcherTableau

Tensors = list[tf.Tensor]
# field(time, state, quadrature) gives the derivative of the state, and the derivatives of the
# integrals that ride along without acting back on it (an empty list when quadrature is False or
# when there are none).
Field = Callable[[tf.Tensor, Tensors, bool], tuple[Tensors, Tensors]]


class Slope(NamedTuple):
    """What the field says at one point: derivatives of the state and of the integrals."""

    state: Tensors
    integral: Tensors


class Step(NamedTuple):
    """A step taken: its end, and what was computed on the way."""

    state: Tensors
    stages: list[Tensors]
    end: Slope | None
    errors: list[Tensors]
    integral: Tensors


def combine(
    base: Sequence[tf.Tensor] | None,
    weights: Sequence[tf.Tensor | None],
    rows: Sequence[Sequence[tf.Tensor]],
) -> Tensors:
    """Returns base + sum_i weights_i rows_i for each component, leaving out weights of None."""
    pairs = [(w, row) for w, row in zip(weights, rows, strict=False) if w is not None]
    result = []
    for i in range(len(pairs[0][1])):
        terms = [expand(w, row[i]) * row[i] for w, row in pairs]
        if base is not None:
            terms.insert(0, base[i])
        result.append(tf.add_n(terms) if len(terms) > 1 else terms[0])
    return result


def scale(step_size: tf.Tensor, rows: Sequence[Sequence[float]]) -> list[list[tf.Tensor | None]]:
    """step_size times every coefficient that is not zero, by a single multiplication."""
    flat = [w for row in rows for w in row if w]
    shape = [len(flat)] + [1] * step_size.shape.rank
    products = iter(tf.unstack(step_size * tf.reshape(tf.constant(flat, step_size.dtype), shape)))
    return [[next(products) if w else None for w in row] for row in rows]


def take_step(
    tableau: ButcherTableau,
    field: Field,
    time: tf.Tensor,
    step_size: tf.Tensor,
    state: Tensors,
    start: Slope | None,
    *,
    estimate: bool,
    close: bool,
    final: tf.Tensor | None = None,
) -> Step:
    """One step from (time, state).

    Args:
      tableau: The method.
      field: The vector field.
      time: Shape () or (batch,).
      step_size: Shape () or (batch,).
      state: Components at `time`.
      start: The slope at (time, state) if it is known.
      estimate: Whether to compute the errors.
      close: Whether to evaluate the slope at the end of the step.
      final: Whether nothing comes after this step, a boolean scalar. The slope at its end then
        serves the error estimate alone, and has no derivative.

    Returns:
      The `Step`. Of first-same-as-last methods the last stage is evaluated only when asked for.
    """
    stages_needed = tableau.num_stages
    if tableau.fsal and not (estimate or close):
        stages_needed -= 1
    rows = scale(step_size, [*tableau.a, tableau.b, *tableau.error])
    solution, errors = rows[tableau.num_stages - 1], rows[tableau.num_stages :]
    slopes = [Slope(*field(time, state, bool(tableau.b[0]))) if start is None else start]
    for i in range(1, stages_needed):
        last = tableau.fsal and i == tableau.num_stages - 1
        inner = combine(state, rows[i - 1], [s.state for s in slopes])
        slope = functools.partial(
            field, time + tableau.c[i] * step_size, inner, last or bool(tableau.b[i])
        )
        slopes.append(Slope(*(_frozen_if(final, slope) if last and final is not None else slope())))
    stages = [s.state for s in slopes]
    if tableau.fsal and stages_needed == tableau.num_stages:
        next_state, end = inner, slopes[-1]
    else:
        next_state, end = combine(state, solution, stages), None
        if close:
            end = Slope(*field(time + step_size, next_state, True))
    used = [(w, s.integral) for w, s in zip(solution, slopes, strict=False) if w is not None]
    integral = combine(None, [w for w, _ in used], [q for _, q in used])
    return Step(
        state=next_state,
        stages=stages if end is None or tableau.fsal else [*stages, end.state],
        end=end,
        errors=[combine(None, row, stages) for row in errors] if estimate else [],
        integral=integral,
    )


def _frozen_if(condition, evaluate):
    """evaluate(), under a stop-gradient where the condition holds.

    A branch, so that its derivative, which would be zero, is not computed.
    """
    frozen = lambda: tf.nest.map_structure(tf.stop_gradient, evaluate())  # noqa: E731
    return tf.cond(condition, frozen, evaluate)


def dense_weights(
    tableau: ButcherTableau, time: tf.Tensor, step_size: tf.Tensor, target: tf.Tensor
) -> list[tf.Tensor | None]:
    """Weights of the slopes in the solution at `target`, inside the step that starts at `time`."""
    theta = (target - time) / step_size
    weights = []
    for row in tableau.interpolation:
        if not any(row):
            weights.append(None)
            continue
        value = tf.constant(row[-1], theta.dtype)
        for coefficient in reversed(row[:-1]):
            value = value * theta + coefficient
        weights.append(step_size * value * theta)
    return weights
