# SPDX-License-Identifier: Apache-2.0
"""A zero of a residual, by following the path of a homotopy."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from homoode_tf.checks import check_choice, check_integer, check_number
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.homotopy.corrector import System
from homoode_tf.homotopy.linear_algebra import DenseJacobian, MatrixFreeJacobian, Residual
from homoode_tf.homotopy.maps import BY_NAME
from homoode_tf.homotopy.path import EagerOnlyError, Path, raise_on_failure
from homoode_tf.homotopy.tracer import StepLengths, Tracer

JACOBIANS = ("auto", "dense", "matrix_free")
ON_FAILURE = ("raise", "return")
_LARGEST_DENSE = 256


def trace(
    residual: Residual,
    initial_point: Any,
    *,
    homotopy: str = "newton",
    jacobian: str = "auto",
    rtol: float | None = None,
    atol: float | None = None,
    max_num_steps: int = 1000,
    initial_step_length: float = 0.1,
    min_step_length: float | None = None,
    max_step_length: float = 10.0,
    max_distance: float = 1e6,
    on_failure: str = "raise",
) -> Path:
    """Solves r(z) = 0 by following the zero path of a homotopy from (z0, 0) to lambda = 1.

    The homotopy is one of

        "newton":       H(z, lambda) = r(z) - (1 - lambda) r(z0)
        "fixed_point":  H(z, lambda) = lambda r(z) + (1 - lambda) (z - z0).

    The path is followed by its arc length s, ds^2 = mean(dz^2) + dlambda^2, hence around points
    where lambda turns: each step predicts by the cubic through the last two points and corrects by
    Newton's method orthogonal to the tangent. Steps become shorter after corrections that fail or
    are slow and where the path bends, and longer after quick ones; a step that may have passed
    lambda = 1 is halved until it is certain. The end is at lambda = 1 exactly, where Newton's
    method goes on until

        rms(r(z)) <= atol + rtol rms(r(z0)),   rms the root mean square over all elements.

    On the way rms(H) is at most the square root of the machine epsilon times rms(r(z0)), or this
    tolerance if it is larger. Slower than Newton's method where that converges; for starts from
    which it does not. "fixed_point" begins well whatever the Jacobian is and suits r(z) = z - g(z);
    the path depends on the sign of r. "newton" needs a regular Jacobian at z0.

    Runs eagerly, as a Python loop on the host, with `residual` and its derivatives compiled once by
    `tf.function` without AutoGraph. All points of the path are kept. No gradients flow through it.

    Args:
      residual: r, from a tensor like `initial_point` to another of the same shape and dtype;
        continuously differentiable along the path.
      initial_point: z0, of any shape, float64 (recommended) or float32; all is computed in its
        dtype. Python numbers are taken for float32.
      homotopy: "newton" or "fixed_point".
      jacobian: "dense" (the matrix, LU; for small systems), "matrix_free" (Jacobian-vector
        products, GMRES without a preconditioner; for large states) or "auto" (dense up to 256
        elements).
      rtol: Relative tolerance; None means eps^(2/3), 3.7e-11 in float64, 2.4e-5 in float32.
      atol: Absolute tolerance; None means the same.
      max_num_steps: Largest number of steps tried, rejected ones included.
      initial_step_length: Length of the first step, in arc length.
      min_step_length: A step that fails and would have to be shorter ends the path; None means
        eps^(2/3).
      max_step_length: Largest step length.
      max_distance: Distance from (z0, 0), measured as the arc length is, at which the path is
        given up.
      on_failure: "raise" a `HomotopyError`, or "return" the path as far as it was followed;
        `status` tells why.

    Returns:
      A `Path`: `state` is the solution, in the shape and dtype of `initial_point`.

    Raises:
      ValueError: If an argument has a value that is not allowed, or `residual` changes the shape.
      TypeError: If the initial point is not float32 or float64, or `residual` changes the dtype.
      EagerOnlyError: If called within a `tf.function`; a RuntimeError, too.
      HomotopyError: If the path does not arrive, with on_failure="raise".

    Example:
      >>> path = trace(tf.atan, tf.constant([3.0], tf.float64))  # Newton's steps diverge from 3
      >>> bool(abs(path.state[0]) < 1e-8), float(path.lambdas[-1])
      (True, 1.0)

    Reference: Allgower and Georg (1990), Numerical Continuation Methods,
    doi:10.1007/978-3-642-61257-2, chapters 2 to 6.
    """
    check_choice("homotopy", homotopy, BY_NAME)
    check_choice("jacobian", jacobian, JACOBIANS)
    check_choice("on_failure", on_failure, ON_FAILURE)
    check_number("rtol", rtol, above=0, optional=True)
    check_number("atol", atol, above=0, optional=True)
    check_number("min_step_length", min_step_length, above=0, optional=True)
    check_number("initial_step_length", initial_step_length, above=0)
    check_number("max_step_length", max_step_length, above=0)
    check_number("max_distance", max_distance, above=0)
    check_integer("max_num_steps", max_num_steps, at_least=1)
    initial_point = _check_initial_point(initial_point)
    eps = float(np.finfo(initial_point.dtype.as_numpy_dtype).eps)
    rtol, atol, min_step_length = (
        eps ** (2 / 3) if value is None else float(value) for value in (rtol, atol, min_step_length)
    )
    lengths = StepLengths(float(initial_step_length), min_step_length, float(max_step_length))
    if jacobian == "auto":
        small = initial_point.shape.num_elements() <= _LARGEST_DENSE
        jacobian = "dense" if small else "matrix_free"
    make_jacobian = {"dense": DenseJacobian, "matrix_free": MatrixFreeJacobian}[jacobian]

    derivative = make_jacobian(residual, initial_point)
    system = System(derivative, BY_NAME[homotopy], initial_point.numpy().reshape(-1))
    initial_norm = system.start.residual_norm
    tolerance = atol + rtol * initial_norm
    path_tolerance = max(tolerance, eps**0.5 * initial_norm)
    tracer = Tracer(system, lengths, tolerance, path_tolerance, float(max_distance))
    status = tracer.run(int(max_num_steps))

    points = np.stack(tracer.points)
    states = tf.reshape(tf.constant(points[:, :-1]), [-1, *initial_point.shape])
    path = Path(
        state=states[-1],
        states=states,
        lambdas=tf.constant(points[:, -1]),
        arc_lengths=tf.constant(tracer.arc_lengths, initial_point.dtype),
        residual_norm=tracer.last.residual_norm,
        num_steps=tracer.num_steps,
        status=status,
        **dataclasses.asdict(derivative.counts),
    )
    if on_failure == "raise":
        raise_on_failure(path, homotopy)
    return path


def _check_initial_point(initial_point):
    if not tf.executing_eagerly():
        raise EagerOnlyError(
            "trace is a Python loop and must be called eagerly, not in a graph: call it outside of "
            "tf.function, Keras models and Dataset.map, or with tf.config.run_functions_eagerly."
        )
    point = tf.convert_to_tensor(initial_point)
    if point.dtype not in (tf.float32, tf.float64):
        raise InvalidTypeError(f"initial_point must be float32 or float64, got {point.dtype.name}.")
    if point.shape.num_elements() == 0:
        raise InvalidValueError(f"initial_point must have elements, got shape {point.shape}.")
    if not np.isfinite(point.numpy()).all():
        raise InvalidValueError("initial_point must be finite, got values that are not.")
    return point
