# SPDX-License-Identifier: Apache-2.0
"""Step size control: the error norm, the first step, and the PI controller.

Every function works on flat lists of tensors. A `norm` is "batch" (one number for the whole state),
"sample" (one number for each sample of the leading dimension) or "worst" (the largest of these).
"""

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

NORMS = ("batch", "sample", "worst")
# A step is stretched by up to so much where that saves one: with the safety factor 0.9 its expected
# error is still within the tolerance.
_STRETCH = 1.1
# Further from the end than so many steps, their number is too uncertain to plan with.
_PLANNED_STEPS = 3
_SMALLEST_RATIO = 1e-10


def align(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Reshapes (batch,) to (batch, 1, ..., 1) with the rank of `like`; () stays ()."""
    if values.shape.rank == 0 or like.shape.rank == 1:
        return values
    return tf.reshape(values, [-1] + [1] * (like.shape.rank - 1))


def expand(scalars: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Aligns scalars with `like` and casts them to its dtype, to multiply it."""
    return align(tf.cast(scalars, like.dtype), like)


def error_ratio(
    errors: Sequence[Sequence[tf.Tensor]],
    state: Sequence[tf.Tensor],
    next_state: Sequence[tf.Tensor],
    rtol: float,
    atol: float,
    norm: str,
) -> tf.Tensor:
    """The error in units of the tolerance: a step is accepted if it is at most one.

    ratio = sqrt(mean((error / (atol + rtol max(|state|, |next_state|)))^2)), over all elements of
    all components. Two rows (order eight), with ratios r and s, give r^2 / sqrt(r^2 + s^2 / 100).

    Args:
      errors: One or two rows, each with one tensor a component.
      state: State at the start of the step.
      next_state: State at its end.
      rtol: Relative tolerance.
      atol: Absolute tolerance.
      norm: One of `NORMS`.

    Returns:
      Real tensor of shape (), or (batch,) with norm="sample".

    Reference: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, II.4 and II.5.
    """
    scales = [
        atol + rtol * tf.maximum(tf.abs(y0), tf.abs(y1))
        for y0, y1 in zip(state, next_state, strict=True)
    ]
    ratios = [root_mean_square(row, scales, norm) for row in errors]
    if len(ratios) == 1:
        return ratios[0]
    first, second = ratios
    smallest = tf.constant(1e-300 if first.dtype == tf.float64 else 1e-30, first.dtype)
    return tf.square(first) / tf.sqrt(tf.square(first) + 0.01 * tf.square(second) + smallest)


def root_mean_square(
    tensors: Sequence[tf.Tensor], scales: Sequence[tf.Tensor], norm: str
) -> tf.Tensor:
    """sqrt(mean(|tensor / scale|^2)) over all elements of all components (of each sample)."""
    totals, sizes = [], []
    for tensor, scale in zip(tensors, scales, strict=True):
        quotient = tf.abs(tensor) / scale if tensor.dtype.is_complex else tensor / scale
        axes = None if norm == "batch" else list(range(1, tensor.shape.rank))
        totals.append(tf.reduce_sum(tf.square(quotient), axes))
        shape = tensor.shape if norm == "batch" else tensor.shape[1:]
        if shape.is_fully_defined():
            sizes.append(tf.constant(shape.num_elements(), totals[-1].dtype))
        else:
            dynamic = tf.shape(tensor) if norm == "batch" else tf.shape(tensor)[1:]
            sizes.append(tf.cast(tf.reduce_prod(dynamic), totals[-1].dtype))
    result = tf.sqrt(tf.add_n(totals) / tf.add_n(sizes))
    return tf.reduce_max(result) if norm == "worst" else result


def initial_step_size(
    derivative: Callable[[tf.Tensor, list[tf.Tensor]], list[tf.Tensor]],
    time: tf.Tensor,
    state: Sequence[tf.Tensor],
    slope: Sequence[tf.Tensor],
    span: tf.Tensor,
    error_order: int,
    rtol: float,
    atol: float,
    norm: str,
) -> tf.Tensor:
    """Hairer's first step: an explicit Euler step measures the second derivative.

    Args:
      derivative: The vector field on flat lists.
      time: Initial time, shape () or (batch,).
      state: Initial state.
      slope: Its derivative.
      span: Length of the interval.
      error_order: Order of the embedded solution.
      rtol: Relative tolerance.
      atol: Absolute tolerance.
      norm: One of `NORMS`.

    Returns:
      Step size, shape () or (batch,). It costs one evaluation of `derivative`.

    Reference: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, II.4, p. 169.
    """
    scales = [atol + rtol * tf.abs(y) for y in state]
    size, speed = root_mean_square(state, scales, norm), root_mean_square(slope, scales, norm)
    trial = tf.where(
        (size < 1e-5) | (speed < 1e-5), tf.constant(1e-6, size.dtype), 0.01 * size / speed
    )
    trial = tf.where(tf.math.is_finite(trial), tf.minimum(trial, span), span * 1e-6)
    euler = [y + expand(trial, y) * k for y, k in zip(state, slope, strict=True)]
    change = [b - a for a, b in zip(slope, derivative(time + trial, euler), strict=True)]
    curvature = root_mean_square(change, scales, norm) / tf.maximum(trial, 1e-30)
    largest = tf.maximum(speed, curvature)
    step = tf.where(
        largest <= 1e-15,
        tf.maximum(tf.constant(1e-6, size.dtype), trial * 1e-3),
        (0.01 / tf.maximum(largest, 1e-30)) ** (1.0 / (error_order + 1)),
    )
    step = tf.minimum(tf.minimum(100.0 * trial, step), span)
    return tf.where(tf.math.is_finite(step), step, trial)


def stretched_step_size(step_size: tf.Tensor, remaining: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lengthens a step a little where the interval then takes one step less.

    Never shortens it: a long step followed by a short rest tells more about the step sizes that are
    possible than two even ones do, and a solve that starts from what was learnt can take one.

    Args:
      step_size: Proposed by the controller, shape () or (batch,).
      remaining: Time to the end, of the same shape.

    Returns:
      The length of the next step, and whether it is the last, which ends at the end.
    """
    count = tf.maximum(tf.math.ceil(remaining / (_STRETCH * step_size)), 1.0)
    stretched = tf.maximum(step_size, remaining / count)
    last = count <= 1.0
    length = tf.where(count <= _PLANNED_STEPS, stretched, step_size)
    return tf.where(last, remaining, length), last


@dataclasses.dataclass(frozen=True)
class PIController:
    """Proportional-integral control of the step size.

    factor = safety * ratio^(-alpha) * previous_ratio^beta with alpha = 1/(q+1) - 0.75 beta,
    beta = 0.2/(q+1), q the order of the embedded solution; after a rejection beta's term is left
    out. The factor stays within [min_factor, max_factor], and is at most 1 after a rejection.

    Reference: Gustafsson (1991), doi:10.1145/210232.210242; Hairer and Wanner, II, IV.2.
    """

    error_order: int
    safety: float = 0.9
    min_factor: float = 0.2
    max_factor: float = 10.0

    def __post_init__(self) -> None:
        """Checks the factors."""
        if not 0.0 < self.safety < 1.0:
            raise ValueError(f"safety_factor must lie between 0 and 1, got {self.safety}.")
        if not 0.0 < self.min_factor < 1.0:
            raise ValueError(
                f"min_step_size_factor must lie between 0 and 1, got {self.min_factor}."
            )
        if not self.max_factor > 1.0:
            raise ValueError(f"max_step_size_factor must be larger than 1, got {self.max_factor}.")

    def factor(
        self, ratio: tf.Tensor, previous_ratio: tf.Tensor, after_rejection: tf.Tensor
    ) -> tf.Tensor:
        """Factor by which the size of the step just tried is to change."""
        exponent = 1.0 / (self.error_order + 1)
        beta = 0.2 * exponent
        finite = tf.math.is_finite(ratio)
        ratio = tf.maximum(tf.where(finite, ratio, tf.ones_like(ratio)), _SMALLEST_RATIO)
        accepted = ratio <= 1.0
        factor = self.safety * tf.where(
            accepted,
            ratio ** (0.75 * beta - exponent) * previous_ratio**beta,
            ratio**-exponent,
        )
        ceiling = tf.where(
            after_rejection | ~accepted,
            tf.ones_like(factor),
            tf.constant(self.max_factor, factor.dtype),
        )
        factor = tf.clip_by_value(factor, self.min_factor, ceiling)
        return tf.where(finite, factor, tf.constant(self.min_factor, factor.dtype))

    def propose(
        self,
        step_size: tf.Tensor,
        taken: tf.Tensor,
        factor: tf.Tensor,
    ) -> tf.Tensor:
        """Next step size, after a step of length `taken` that the end time may have cut short.

        A step cut so short that its factor reaches the limit says nothing against the
        suggestion that was cut.
        """
        return tf.where(
            (factor >= self.max_factor) & (taken < step_size),
            tf.maximum(step_size, taken * factor),
            taken * factor,
        )
