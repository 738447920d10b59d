# SPDX-License-Identifier: Apache-2.0
"""The objective of a step and its gradient, on one replica, part by part."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from homoode_tf.solvers.ode.failure import failures_as_nan
from homoode_tf.training.settings import TrainingSettings


def make_gradient(
    model: Any, settings: TrainingSettings, num_replicas: int
) -> Callable[..., tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor]]:
    """Returns the gradient of the objective, for the task's weights and for the initial point.

    The objective, summed over the replicas r of R and the parts p of P, is ::

        sum over r, p of (sum of the cross-entropies of p's images / global batch size
                          + sum of p's added losses / (R P))

    because Keras's optimisers sum the gradients of the replicas themselves: its gradient is that
    of one replica with the whole batch. The added loss of the initial point reaches only its own
    variables and the task's only the others, so one tape serves both optimisers.

    Args:
        model: A classifier as `homoode_tf.models.build` makes it.
        settings: The checked config.
        num_replicas: R.

    Returns:
        A function of a replica's images, uint8 of shape (n, height, width, channels), its labels,
        int64 of shape (n,) or shares of shape (n, classes), and a factor, or None, by which the
        loss is multiplied and the gradients are divided again, so that those in half precision do
        not underflow. Called in replica context it returns this replica's shares of the gradients
        of `task_variables`, of those of `initial_point_variables`, and of the metrics in the order
        of `MetricSums`.
    """
    num_parts = settings.accumulation_steps
    share = 1.0 / (num_replicas * num_parts)
    # TensorFlow's own: of an unused one of Keras's it cannot make the zeros.
    groups = (model.task_variables, model.initial_point_variables)
    variables = [[variable.value for variable in group] for group in groups]

    def of_part(images, labels, scale):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            entropies = cross_entropy(labels, logits, settings.label_smoothing)
            task_loss = tf.reduce_sum(entropies) / settings.batch_size
            losses = [tf.cast(loss, tf.float32) for loss in model.losses]
            added_loss = tf.add_n([tf.zeros([]), *losses]) * share
            loss = task_loss + added_loss
            if scale is not None:
                loss *= scale
        zero = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(loss, variables, unconnected_gradients=zero)
        # Of what is gathered from a table it is IndexedSlices, which do not add up.
        gradients = [[tf.convert_to_tensor(gradient) for gradient in group] for group in gradients]
        metrics = [
            share,
            tf.cast(tf.shape(labels)[0], tf.float32),
            tf.reduce_sum(entropies),
            tf.reduce_sum(correct(labels, logits)),
            added_loss,
            tf.cast(model.implicit.forward_nfe, tf.float32) * share,
            tf.cast(model.implicit.backward_nfe, tf.float32) * share,
        ]
        return *gradients, tf.stack(metrics)

    if settings.non_finite == "skip":
        # So that a step whose solve fails is left out as well.
        of_part = failures_as_nan()(of_part)

    def gradient(images, labels, scale=None):
        *gradients, metrics = accumulate(
            lambda *part: of_part(*part, scale), num_parts, images, labels
        )
        if scale is not None:
            gradients = [[g / tf.cast(scale, g.dtype) for g in group] for group in gradients]
        return *gradients, metrics

    return gradient


def accumulate(function: Callable[..., Any], num_parts: int, *tensors: tf.Tensor) -> Any:
    """Sums a function over equal parts of a batch, in turn: one part is in memory at a time.

    Args:
        function: From slices of the tensors to a nest of tensors.
        num_parts: Number of parts; must divide the first dimension, which must be static.
        *tensors: All of the same first dimension.

    Returns:
        A nest like the function's.

    Example:
        >>> float(accumulate(tf.reduce_sum, 2, tf.constant([1.0, 2.0, 3.0, 4.0])))
        10.0
    """
    if num_parts == 1:
        return function(*tensors)
    size = tensors[0].shape[0] // num_parts

    def part(number):
        return function(*(tensor[number * size : (number + 1) * size] for tensor in tensors))

    def add(number, total):
        return number + 1, tf.nest.map_structure(tf.add, total, part(number))

    _, total = tf.while_loop(
        lambda number, _: number < num_parts, add, (1, part(0)), parallel_iterations=1
    )
    return total


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor, label_smoothing: float = 0.0) -> tf.Tensor:
    """Returns the cross-entropy of each image in nats, float32 of shape (batch,).

    With smoothing s and C classes the target is (1 - s) one_hot(label) + s / C.

    Args:
        labels: int64 tensor of shape (batch,), or the classes' shares as the logits' shape.
        logits: float32 tensor of shape (batch, classes).
        label_smoothing: s, in [0, 1).
    """
    if len(labels.shape) == 2:
        entropies = tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    else:
        entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    if label_smoothing == 0:
        return entropies
    uniform = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    return (1.0 - label_smoothing) * entropies + label_smoothing * uniform


def correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns 1 for each image whose largest logit is its label's, else 0; all as above."""
    if len(labels.shape) == 2:
        labels = tf.argmax(labels, axis=-1)
    return tf.cast(tf.equal(tf.argmax(logits, axis=-1), labels), tf.float32)
