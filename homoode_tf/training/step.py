# SPDX-License-Identifier: Apache-2.0
"""One training step and one evaluation step, compiled, over all replicas."""

from collections.abc import Callable, Iterator

import tensorflow as tf

from homoode_tf.training.optimizers import clip_to_global_norm
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.state import TrainState
from homoode_tf.training.totals import Totals


def make_train_step(
    state: TrainState, settings: TrainingSettings
) -> Callable[[Iterator[tuple[tf.Tensor, tf.Tensor]]], None]:
    """Compiles a step: one batch, one gradient, one update of each optimiser.

    The objective, summed over the replicas r of R, is ::

        sum over r of (sum of the cross-entropies of r's images / global batch size
                       + sum of r's added losses / R)

    because Keras's optimisers sum the gradients of the replicas themselves: its gradient is that
    of one replica with the whole batch. The added loss of the initial point reaches only its own
    variables and the task's only the others, so one tape serves both optimisers.

    Args:
        state: What the step changes.
        settings: The checked config.

    Returns:
        A function of an iterator over distributed batches of images, uint8 of shape (batch,
        height, width, channels), and labels, int64 of shape (batch,). It returns nothing, and
        does not wait for the device: `state.period` and `state.epoch` add up the metrics.
    """
    model, strategy = state.model, state.strategy
    task_variables = list(model.task_variables)
    initial_point_variables = list(model.initial_point_variables)
    num_replicas = strategy.num_replicas_in_sync

    def on_replica(images, labels, number):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            entropies = cross_entropy(labels, logits, settings.label_smoothing)
            task_loss = tf.reduce_sum(entropies) / settings.batch_size
            added_loss = tf.add_n([tf.zeros([]), *model.losses]) / num_replicas
            loss = task_loss + added_loss
        task_gradients, initial_point_gradients = tape.gradient(
            loss, [task_variables, initial_point_variables]
        )
        task_gradients = clip_to_global_norm(task_gradients, settings.optimizer.clip_norm)
        state.task_optimizer.apply(task_gradients, task_variables)
        if state.initial_point_optimizer is not None:
            state.initial_point_optimizer.apply(initial_point_gradients, initial_point_variables)
        if state.average is not None:
            state.average.update(number)
        return sum_over_replicas(
            [
                1.0 / num_replicas,
                tf.cast(tf.size(labels), tf.float32),
                tf.reduce_sum(entropies),
                tf.reduce_sum(correct(labels, logits)),
                added_loss,
                tf.cast(model.implicit.forward_nfe, tf.float32) / num_replicas,
                tf.cast(model.implicit.backward_nfe, tf.float32) / num_replicas,
            ]
        )

    @tf.function(autograph=False)
    def train_step(batches):
        images, labels = next(batches)
        number = state.step + 1
        sums = strategy.run(on_replica, args=(images, labels, number))
        sums = strategy.experimental_local_results(sums)[0]
        state.period.add(sums)
        state.epoch.add(sums)
        finite = tf.reduce_all(tf.math.is_finite(sums))
        seen_before = state.first_bad_step > 0
        state.first_bad_step.assign(tf.where(finite | seen_before, state.first_bad_step, number))
        state.step.assign(number)

    return train_step


def make_evaluation_step(
    state: TrainState, totals: Totals
) -> Callable[[Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]], None]:
    """Compiles an evaluation step, which adds the metrics of one batch to `totals`.

    Args:
        state: Holds the model; it is not changed.
        totals: Gets the sums of the plain cross-entropy and of the right answers.

    Returns:
        A function of an iterator over distributed batches of images, labels and weights, float32
        of shape (batch,): 1 for an image that counts and 0 for one that fills up a batch.
    """
    model, strategy = state.model, state.strategy
    num_replicas = strategy.num_replicas_in_sync

    def on_replica(images, labels, weights):
        logits = model(images, training=False)
        return sum_over_replicas(
            [
                1.0 / num_replicas,
                tf.reduce_sum(weights),
                tf.reduce_sum(weights * cross_entropy(labels, logits)),
                tf.reduce_sum(weights * correct(labels, logits)),
                0.0,
                tf.cast(model.implicit.forward_nfe, tf.float32) / num_replicas,
                0.0,
            ]
        )

    @tf.function(autograph=False)
    def evaluation_step(batches):
        sums = strategy.run(on_replica, args=next(batches))
        totals.add(strategy.experimental_local_results(sums)[0])

    return evaluation_step


def sum_over_replicas(metrics: list[tf.Tensor | float]) -> tf.Tensor:
    """Returns the metrics' sums over all replicas of all workers; called in replica context.

    Args:
        metrics: Scalars of one replica, in the order of `totals.FIELDS`.

    Returns:
        float32 tensor of shape (len(metrics),), the same on each replica.
    """
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack(metrics))


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor, label_smoothing: float = 0.0) -> tf.Tensor:
    """Returns the cross-entropy of each image in nats.

    With smoothing s and C classes the target is (1 - s) one_hot(label) + s / C.

    Args:
        labels: int64 tensor of shape (batch,).
        logits: float32 tensor of shape (batch, classes).
        label_smoothing: s, in [0, 1).

    Returns:
        float32 tensor of shape (batch,).
    """
    entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    if label_smoothing == 0:
        return entropies
    uniform = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    return (1.0 - label_smoothing) * entropies + label_smoothing * uniform


def correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns 1 for each image whose largest logit is its label's, and 0 for the others.

    Args:
        labels: int64 tensor of shape (batch,).
        logits: float32 tensor of shape (batch, classes).

    Returns:
        float32 tensor of shape (batch,).
    """
    return tf.cast(tf.equal(tf.argmax(logits, axis=-1), labels), tf.float32)
