# SPDX-License-Identifier: Apache-2.0
"""The largest singular value of dF/dz along the way, by power iteration on its products."""

import keras
import numpy as np
import tensorflow as tf

from homoode_tf.layers import ODELayer
from scripts.stability import fields
from scripts.stability.fields import Field

SHARES_OF_TIME = (0.0, 0.25, 0.5, 0.75, 1.0)


def largest_singular_value(
    field: Field, state: tf.Tensor, num_iterations: int = 30, seed: int = 0
) -> tf.Tensor:
    """sigma_max(dF/dz) of each sample, from below.

    v <- J^T J v / |J^T J v|, and at the end |J v|. J^T u is a gradient; J v is the gradient of
    J^T u, which is linear in u, by u.

    Args:
        field: z -> F(z), sample by sample, of a tensor of shape (batch, ...).
        state: z.
        num_iterations: How often; two products each.
        seed: Of the first v.

    Returns:
        Shape (batch,), of the state's dtype.
    """

    @tf.function(autograph=False)
    def product(vectors):
        with tf.GradientTape() as outer:
            dual = tf.zeros_like(state)
            outer.watch(dual)
            pulled = transposed(dual)
        return outer.gradient(pulled, dual, output_gradients=vectors)

    def transposed(vectors):
        with tf.GradientTape() as tape:
            tape.watch(state)
            slopes = field(state)
        return tape.gradient(slopes, state, output_gradients=vectors)

    step = tf.function(lambda vectors: transposed(product(_normalised(vectors))), autograph=False)
    vectors = tf.random.stateless_normal(state.shape, (seed, 0), dtype=state.dtype)
    for _ in range(num_iterations):
        vectors = step(vectors)
    return tf.reshape(_norm(product(_normalised(vectors))), [-1])


def along_the_way(model: keras.Model, images: np.ndarray) -> dict[str, list[float]]:
    """The median over images of sigma_max(dF/dz) and of the residual, at `SHARES_OF_TIME` of T.

    Of a deq both are taken at its fixed point alone: sigma_max(dg/dz), and rms(g - z).

    Returns:
        Lists "norm" and "residual".
    """
    norms, residuals = [], []
    for field, state in fields.along_the_way(model, images, SHARES_OF_TIME):
        norms.append(float(np.median(largest_singular_value(field, state))))
        is_map = not isinstance(model.implicit, ODELayer)
        residuals.append(float(np.median(fields.residual(field, state, is_map))))
    return {"norm": norms, "residual": residuals}


def _norm(vectors: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(vectors**2, range(1, vectors.shape.rank), keepdims=True))


def _normalised(vectors: tf.Tensor) -> tf.Tensor:
    # Where the Jacobian is zero, zero stays.
    return tf.math.divide_no_nan(vectors, _norm(vectors))
