# SPDX-License-Identifier: Apache-2.0
"""A bound on the norm of the whole gradient."""

from collections.abc import Sequence

import tensorflow as tf


def squared_norm(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the float32 sum of the squares of gradients, each of a dtype of its own."""
    return tf.add_n([tf.reduce_sum(tf.square(tf.cast(g, tf.float32))) for g in gradients])


def clip_to_global_norm(gradients: Sequence[tf.Tensor], largest: float) -> list[tf.Tensor]:
    """Scales one replica's share of the gradient so that the sum's norm is at most `largest`.

    Keras's optimisers would clip each replica's share by itself, before the sum over replicas.

    Args:
        gradients: This replica's gradients, whose sum over replicas is the gradient.
        largest: The bound; 0 leaves the gradients alone.

    Returns:
        The scaled shares. Must be called in replica context.
    """
    if largest == 0:
        return list(gradients)
    replica = tf.distribute.get_replica_context()
    summed = replica.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
    norm = tf.sqrt(squared_norm(summed))
    # max() keeps a gradient of norm zero from becoming 0 / 0.
    scale = tf.minimum(1.0, largest / tf.maximum(norm, 1e-12))
    return [gradient * tf.cast(scale, gradient.dtype) for gradient in gradients]
