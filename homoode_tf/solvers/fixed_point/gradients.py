# SPDX-License-Identifier: Apache-2.0
"""Gradients of a fixed point: implicit, phantom and Jacobian-free; and a price on its Jacobian."""

from collections.abc import Callable

import tensorflow as tf

from homoode_tf.checks import check_choice, check_integer, check_number
from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers import tracing
from homoode_tf.solvers.first_order import first_order_only
from homoode_tf.solvers.fixed_point.iteration import FixedPointSolver, Map

MODES = ("implicit", "phantom", "jacobian_free")
NUM_PHANTOM_STEPS = 5


def differentiate(
    fn: Map,
    fixed_point: tf.Tensor,
    mode: str = "implicit",
    *,
    adjoint_solver: FixedPointSolver | None = None,
    num_phantom_steps: int = NUM_PHANTOM_STEPS,
    phantom_damping: float = 0.5,
    on_backward: Callable[[tf.Tensor], object] | None = None,
) -> tf.Tensor:
    """Returns a fixed point with gradients to whatever its map depends on.

    With z = g(z; p) and v = dL/dz, the exact gradient is w^T dg/dp, where

        w = (dg/dz)^T w + v

    is itself a fixed point, of a linear map. The modes:

    * "implicit" solves for w with `adjoint_solver`; exact up to its tolerance.
    * "phantom" differentiates `num_phantom_steps` damped steps that start at the fixed point: a
      truncated, damped Neumann series for w. An approximation, without a solve.
    * "jacobian_free" takes w = v; the cheapest. It points downhill if g contracts.

    Args:
      fn: The map g, of z alone; what else it uses (tensors, variables) gets the gradient.
      fixed_point: z, as a solver found it.
      mode: One of `MODES`.
      adjoint_solver: Needed for "implicit".
      num_phantom_steps: For "phantom".
      phantom_damping: For "phantom", in (0, 1].
      on_backward: Called within the backward pass with the number of evaluations of g and its
        vector-Jacobian products there, an int32 scalar.

    Returns:
      g(z) (after the last phantom step), which is z up to its residual, of z's shape and dtype.

    Raises:
      ValueError: If an argument has a value that is not allowed.

    Example:
      >>> a = tf.Variable(1.0)
      >>> with tf.GradientTape() as tape:
      ...     z = differentiate(lambda z: a * tf.cos(z), tf.constant([[0.739085]]), "phantom")
      >>> bool(tf.abs(tape.gradient(z, a) - 0.4416) < 0.01)  # cos z / (1 + sin z)
      True

    Reference: Bai et al. (2019), arXiv:1909.01377 (implicit); Geng et al. (2021), arXiv:2111.05177
    (phantom); Fung et al. (2022), arXiv:2103.12803 (Jacobian-free).
    """
    check_choice("gradient", mode, MODES)
    check_integer("num_phantom_steps", num_phantom_steps, at_least=1)
    check_number("phantom_damping", phantom_damping, above=0)
    if mode == "implicit" and adjoint_solver is None:
        raise InvalidValueError("gradient='implicit' needs an adjoint_solver.")
    state = tf.stop_gradient(fixed_point)
    if mode == "phantom":
        image = state
        for _ in range(num_phantom_steps):
            image += phantom_damping * (fn(image) - image)
        return _on_the_way_back(
            image, lambda v: (_once(mode, v, image), num_phantom_steps), on_backward
        )
    image = fn(state)
    if mode == "jacobian_free":
        return _on_the_way_back(image, lambda v: (_once(mode, v, image), 1), on_backward)

    def solve_adjoint(cotangent):
        point = tracing.local(state)
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(point)
            output = fn(point)

        def transposed(w):
            product = tape.gradient(
                output, point, w, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            return product + cotangent

        # Scaled to size one, sample by sample, as the tolerances are: the absolute one shall not
        # depend on the scale of the loss, nor a sample's answer on that of its mates.
        axes = list(range(1, cotangent.shape.rank))
        size = tf.sqrt(tf.reduce_mean(tf.square(cotangent), axes, keepdims=True))
        size = tf.where((size > 0.0) & tf.math.is_finite(size), size, tf.ones_like(size))
        cotangent /= size
        results = adjoint_solver.solve(transposed, cotangent)
        adjoint = _once(mode, size * results.state, output)
        # One more evaluation and product lead from w to the parameters.
        return adjoint, results.num_evaluations + 1

    return _on_the_way_back(image, solve_adjoint, on_backward)


def _once(mode: str, cotangent: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """A cotangent that cannot be differentiated once more.

    It depends on all that g depends on, which its computation does not show: so an image goes too.
    """
    advice = "a fixed point has first derivatives only"
    return first_order_only(mode, [cotangent, image], advice)[0]


def _on_the_way_back(x, transform, on_backward):
    """x, whose cotangent goes through `transform`; this also counts evaluations."""

    @tf.custom_gradient
    def identity(x):
        def grad(cotangent):
            with tracing.refuse_captures_in_loops("Take 'phantom' or 'jacobian_free'."):
                cotangent, evaluations = transform(cotangent)
            if on_backward is not None:
                on_backward(tf.cast(evaluations, tf.int32))
            return cotangent

        return tf.identity(x), grad

    return identity(x)


def jacobian_penalty(fn: Map, state: tf.Tensor, seed: int | None = None) -> tf.Tensor:
    """Estimates the mean square of the Jacobian's entries times its size, to keep it small.

    E |e^T dg/dz|^2 = |dg/dz|_F^2 for standard normal e (Hutchinson's estimator, one sample a call);
    divided by the number of elements of a sample, so that a Jacobian of c I gives c^2.

    Args:
      fn: The map g.
      state: z, of shape (batch, ...); usually the fixed point. No gradient reaches it.
      seed: Of the random vectors.

    Returns:
      Scalar of the state's dtype, differentiable by what g depends on.

    Example:
      >>> float(jacobian_penalty(lambda z: 0.0 * z, tf.ones([2, 3])))
      0.0

    Reference: Bai, Koltun and Kolter (2021), Stabilizing Equilibrium Models by Jacobian
    Regularization, arXiv:2106.14342.
    """
    state = tf.stop_gradient(state)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(state)
        image = fn(state)
    vector = tf.random.normal(tf.shape(image), dtype=image.dtype, seed=seed)
    product = tape.gradient(image, state, vector)
    # Of an empty batch the mean is not a number.
    return tf.where(tf.size(product) > 0, tf.reduce_mean(tf.square(product)), 0.0)
