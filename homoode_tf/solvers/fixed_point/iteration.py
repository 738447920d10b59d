# SPDX-License-Identifier: Apache-2.0
"""The iteration that all fixed-point solvers share: per sample, with the best iterate kept."""

import abc
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from homoode_tf.checks import check_choice, check_integer, check_number, check_tolerances
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.solvers import fusion
from homoode_tf.solvers.fixed_point.results import (
    ON_FAILURE,
    FixedPointResults,
    FixedPointStatus,
    report_failure,
)

_RUNNING = 1
Map = Callable[[tf.Tensor], tf.Tensor]


class Iterate(NamedTuple):
    """Where an iteration stands.

    Attributes:
      number: int32 scalar, iterations made before.
      state: z, of shape (batch, n).
      residual: g(z) - z, of the same shape.
    """

    number: tf.Tensor
    state: tf.Tensor
    residual: tf.Tensor


class FixedPointSolver(abc.ABC):
    """Base of the solvers of z = g(z), one equation for each sample of a batch.

    A sample has converged when

        rms(g(z) - z) <= atol + rtol rms(g(z)),

    with the root mean square over all elements of the sample. It then stands still, so its answer
    does not depend on the other samples of the batch. A sample that does not converge within
    `max_num_iterations`, or meets values that are not finite, ends with a status, and its iterate
    with the smallest residual is returned.

    The solve itself is not differentiated: see `fixed_point.differentiate`.

    Args:
      rtol: Relative tolerance.
      atol: Absolute tolerance.
      max_num_iterations: Largest number of iterations.
      on_failure: "warn" (eagerly by `FixedPointWarning`, in a graph by one line on the standard
        error stream, compiled by XLA not at all), "raise" (NaN where XLA compiles), or "return"
        without a word.

    Raises:
      ValueError: If an argument has a value that is not allowed.
    """

    def __init__(
        self,
        *,
        rtol: float = 1e-3,
        atol: float = 1e-6,
        max_num_iterations: int = 50,
        on_failure: str = "warn",
    ):
        check_number("rtol", rtol, above=0)
        check_number("atol", atol, above=0)
        check_integer("max_num_iterations", max_num_iterations, at_least=1)
        check_choice("on_failure", on_failure, ON_FAILURE)
        self.rtol = float(rtol)
        self.atol = float(atol)
        self.max_num_iterations = int(max_num_iterations)
        self.on_failure = on_failure

    @property
    def name(self) -> str:
        """Name of the method in messages."""
        return type(self).__name__

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, each of which is an attribute of the same name."""
        parameters = {
            **inspect.signature(type(self)).parameters,
            **inspect.signature(FixedPointSolver).parameters,
        }
        return {
            name: getattr(self, name)
            for name, parameter in parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "FixedPointSolver":
        """Makes the solver that `get_config` described."""
        return cls(**config)

    @abc.abstractmethod
    def begin(self, state: tf.Tensor) -> Any:
        """What the method remembers before the first iteration: a nest of tensors."""

    @abc.abstractmethod
    def step(self, fn: Map, iterate: Iterate, memory: Any) -> tuple[tf.Tensor, Any, tf.Tensor]:
        """The next z, what is remembered of this step, and evaluations of g made for it."""

    # Converting this package by AutoGraph would only make tracing slower.
    @tf.autograph.experimental.do_not_convert
    def solve(self, fn: Map, initial_state: tf.Tensor) -> FixedPointResults:
        """Solves z = fn(z).

        Args:
          fn: The map g, from a tensor of shape (batch, ...) to one of the same shape and dtype; it
            must treat the samples independently.
          initial_state: Where to start, floating tensor of shape (batch, ...).

        Returns:
          `FixedPointResults`.

        Raises:
          TypeError: If the state is not floating.
          ValueError: If the state has no batch dimension, `fn` changes its shape, or the tolerances
            are below the dtype's resolution.
          FixedPointError: With on_failure="raise", in eager mode; a graph raises
            InvalidArgumentError.
        """
        initial_state = tf.convert_to_tensor(initial_state)
        if not initial_state.dtype.is_floating:
            raise InvalidTypeError(
                f"initial_state must be floating, got {initial_state.dtype.name}."
            )
        check_tolerances(self.rtol, self.atol, initial_state.dtype.as_numpy_dtype)
        if initial_state.shape.rank in (None, 0):
            raise InvalidValueError(
                "initial_state must have a leading batch dimension, got shape "
                f"{initial_state.shape}."
            )
        # As numbers where they are known: converters to other formats infer no more than these say.
        size = initial_state.shape[1:].num_elements()
        shape, flat_shape = [-1, *initial_state.shape[1:]], [-1, size]
        if size is None:
            shape = tf.shape(initial_state)
            flat_shape = [shape[0], -1]

        def flat_fn(flat):
            # Not tf.ensure_shape, which forward-mode differentiation (2.21) fails at.
            state = tf.reshape(flat, shape)
            state.set_shape(initial_state.shape)
            image = tf.convert_to_tensor(fn(state))
            if not image.shape.is_compatible_with(state.shape):
                raise InvalidValueError(
                    f"fn must return the shape of its state {state.shape}, got {image.shape}."
                )
            return tf.reshape(tf.cast(image, flat.dtype), flat_shape)

        flat = tf.reshape(tf.stop_gradient(initial_state), flat_shape)
        results = self._iterate(flat_fn, flat)
        state = tf.reshape(results.state, shape)
        state.set_shape(initial_state.shape)
        results = results._replace(state=state)
        return report_failure(results, self.name, self.on_failure)

    def _iterate(self, fn: Map, state: tf.Tensor) -> FixedPointResults:
        batch = tf.shape(state)[:1]
        infinite = tf.fill(batch, tf.constant(float("inf"), state.dtype))
        (carry,) = tf.while_loop(
            lambda carry: tf.reduce_any(tf.equal(carry.status, _RUNNING)),
            lambda carry: (self._body(fn, carry),),
            (
                _Carry(
                    number=tf.constant(0),
                    state=state,
                    best=state,
                    best_ratio=infinite,
                    best_norm=infinite,
                    status=tf.fill(batch, _RUNNING),
                    iterations=tf.zeros(batch, tf.int32),
                    memory=self.begin(state),
                    evaluations=tf.constant(0),
                ),
            ),
            parallel_iterations=1,
            maximum_iterations=self.max_num_iterations,
        )
        running = tf.equal(carry.status, _RUNNING)
        status = tf.where(running, int(FixedPointStatus.MAX_NUM_ITERATIONS), carry.status)
        return FixedPointResults(
            tf.stop_gradient(carry.best),
            tf.stop_gradient(carry.best_norm),
            status,
            carry.iterations,
            carry.evaluations,
        )

    def _body(self, fn: Map, carry: "_Carry") -> "_Carry":
        """Judges an iterate and, where that is not yet the solution, makes the next."""
        image = fn(carry.state)
        residual = image - carry.state
        norm = root_mean_square(residual)
        ratio = norm / (self.atol + self.rtol * root_mean_square(image))
        going = tf.equal(carry.status, _RUNNING)
        # A ratio of NaN improves on nothing.
        improved = going & (ratio < carry.best_ratio)
        status = tf.where(going & (ratio <= 1.0), int(FixedPointStatus.CONVERGED), carry.status)
        finite = tf.math.is_finite(norm)
        status = tf.where(going & ~finite, int(FixedPointStatus.NON_FINITE), status)
        iterations = carry.iterations + tf.cast(going, tf.int32)
        going = tf.equal(status, _RUNNING)
        # Samples that stand still must not spoil a method's linear algebra.
        residual = tf.where(going[:, tf.newaxis], residual, tf.zeros_like(residual))
        iterate = Iterate(carry.number, carry.state, residual)
        following, memory, evaluations = tf.cond(
            tf.reduce_any(going) & (carry.number + 1 < self.max_num_iterations),
            lambda: self.step(fn, iterate, carry.memory),
            lambda: (tf.identity(carry.state), carry.memory, tf.constant(0)),
        )
        return _Carry(
            number=carry.number + 1,
            state=tf.where(going[:, tf.newaxis], following, carry.state),
            best=tf.where(improved[:, tf.newaxis], carry.state, carry.best),
            best_ratio=tf.where(improved, ratio, carry.best_ratio),
            best_norm=tf.where(improved, norm, carry.best_norm),
            status=status,
            iterations=iterations,
            memory=memory,
            evaluations=carry.evaluations + 1 + evaluations,
        )


class _Carry(NamedTuple):
    """What goes from iterate to iterate."""

    number: tf.Tensor
    state: tf.Tensor
    best: tf.Tensor
    best_ratio: tf.Tensor
    best_norm: tf.Tensor
    status: tf.Tensor
    iterations: tf.Tensor
    memory: Any
    evaluations: tf.Tensor


def root_mean_square(x: tf.Tensor) -> tf.Tensor:
    """sqrt(mean(x^2)) of each row of (batch, n); shape (batch,)."""
    return tf.sqrt(tf.reduce_mean(tf.square(x), axis=1))


def dot(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Inner products of the rows of two (batch, n); shape (batch, 1)."""
    return tf.reduce_sum(x * y, axis=1, keepdims=True)


def empty_rows(state: tf.Tensor, number: int) -> tf.Tensor:
    """Zeros of shape (batch, number, n) for a (batch, n) state, with what is known of its shape."""
    rows = tf.zeros([tf.shape(state)[0], number, state.shape[1] or tf.shape(state)[1]], state.dtype)
    rows.set_shape([state.shape[0], number, state.shape[1]])
    return rows


def empty_history(state: tf.Tensor, length: int) -> tuple[tf.Tensor, ...]:
    """The last state and residual, and two lists of rows, of a method that has made no step yet."""
    rows = empty_rows(state, length)
    return state, tf.zeros_like(state), rows, rows


def put_row(rows: tf.Tensor, index: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    """Returns (batch, m, n) `rows` with every sample's row `index` replaced by (batch, n) `row`."""
    if fusion.pays(rows):
        # Within a loop this writes where the row was; the other way writes all rows anew.
        batch = tf.shape(rows)[0]
        places = tf.stack([tf.range(batch), tf.fill([batch], index)], axis=1)
        return tf.tensor_scatter_nd_update(rows, places, row)
    chosen = tf.range(tf.shape(rows)[1]) == index
    return tf.where(chosen[tf.newaxis, :, tf.newaxis], row[:, tf.newaxis], rows)
