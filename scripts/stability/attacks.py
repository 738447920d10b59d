# SPDX-License-Identifier: Apache-2.0
"""Attacks on a classifier: the worst images that differ by at most epsilon in every pixel.

FGSM (https://arxiv.org/abs/1412.6572) takes one step along the sign of the loss's gradient; PGD
(https://arxiv.org/abs/1706.06083) many short ones from a random start, each followed by a
projection. Images are float tensors in 0..255, and so are epsilons: 1/255 of an image in 0..1 is 1.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from scripts.trained import batches_of

Gradient = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Attack = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
_LARGEST = 255.0


def loss_gradient(classify: Callable[[tf.Tensor], tf.Tensor]) -> Gradient:
    """The gradient of every image's cross-entropy by that image: images, labels -> gradient."""

    @tf.function(autograph=False, reduce_retracing=True)
    def gradient(images, labels):
        with tf.GradientTape() as tape:
            tape.watch(images)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, classify(images))
        # Of the sum: an image's loss depends on itself alone.
        return tape.gradient(losses, images)

    return gradient


def fgsm(gradient: Gradient, images: tf.Tensor, labels: tf.Tensor, epsilon: float) -> tf.Tensor:
    """The fast gradient sign method.

    Args:
        gradient: Of the loss, as `loss_gradient` returns it.
        images: Float tensor in 0..255.
        labels: Integer tensor of shape (batch,).
        epsilon: Largest change of a pixel.
    """
    return _within(images + epsilon * tf.sign(gradient(images, labels)), images, epsilon)


def pgd(
    gradient: Gradient,
    images: tf.Tensor,
    labels: tf.Tensor,
    epsilon: float,
    num_steps: int = 20,
    seed: int = 0,
) -> tf.Tensor:
    """Projected gradient ascent from a random start, with steps of 2.5 epsilon / num_steps."""
    step = 2.5 * epsilon / num_steps
    noise = tf.random.stateless_uniform(tf.shape(images), (seed, 0), -epsilon, epsilon)
    attacked = _within(images + noise, images, epsilon)
    for _ in range(num_steps):
        attacked = attacked + step * tf.sign(gradient(attacked, labels))
        attacked = _within(attacked, images, epsilon)
    return attacked


def attacked(attack: Attack, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """All images as an attack leaves them, float32."""
    images = np.asarray(images, np.float32)
    return np.concatenate([attack(*batch) for batch in batches_of(images, labels)])


def _within(attacked: tf.Tensor, images: tf.Tensor, epsilon: float) -> tf.Tensor:
    near = tf.clip_by_value(attacked, images - epsilon, images + epsilon)
    return tf.clip_by_value(near, 0.0, _LARGEST)
