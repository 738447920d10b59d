# SPDX-License-Identifier: Apache-2.0
"""One training step and one evaluation step, compiled, over all replicas."""

from collections.abc import Callable, Iterator

import tensorflow as tf

from homoode_tf.training.objective import Gradient, correct, cross_entropy
from homoode_tf.training.optimizers.build import clip_to_global_norm
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.state import TrainState
from homoode_tf.training.watch.metric_sums import Totals


def make_train_step(
    state: TrainState, settings: TrainingSettings
) -> Callable[[Iterator[tuple[tf.Tensor, tf.Tensor]]], None]:
    """Compiles a step: one batch, one gradient, one update of each optimiser.

    Where steps can be skipped (`config.non_finite`, half precision), a step with a non-finite
    loss or gradient leaves everything as it was before, but for the count of steps.

    With `config.jit_compile` XLA compiles the gradient, which is nearly all of a step, and on a
    single replica the update; what replicas tell each other stays outside.

    Args:
        state: What the step changes.
        settings: The checked config.

    Returns:
        A function of an iterator over distributed batches of images, uint8 of shape (batch,
        height, width, channels), and labels, int64 of shape (batch,). It returns nothing, and
        does not wait for the device: `state.period` and `state.epoch` add up the metrics.
    """
    strategy, scale = state.strategy, state.loss_scale
    gradient = Gradient(state.model, settings, strategy.num_replicas_in_sync)
    find_gradient = gradient.__call__

    def compute(images, labels):
        *gradients, metrics = find_gradient(
            images, labels, None if scale is None else tf.convert_to_tensor(scale.value)
        )
        state.agree_on_step_sizes()
        # One all-reduce for the metrics and for whether all is finite.
        squares = tf.add_n([tf.reduce_sum(tf.square(g)) for g in tf.nest.flatten(gradients)])
        return *gradients, sum_over_replicas([*tf.unstack(metrics), squares])

    def apply(task_gradients, initial_point_gradients, number):
        task_gradients = clip_to_global_norm(task_gradients, settings.optimizer.clip_norm)
        state.task_optimizer.apply(task_gradients, gradient.task_variables)
        if state.initial_point_optimizer is not None:
            state.initial_point_optimizer.apply(
                initial_point_gradients, gradient.initial_point_variables
            )
        if state.average is not None:
            state.average.update(number)

    if settings.jit_compile:
        find_gradient = tf.function(find_gradient, autograph=False, jit_compile=True)
        if strategy.num_replicas_in_sync == 1:
            apply = tf.function(apply, autograph=False, jit_compile=True)

    def always(images, labels, number):
        """Returns the sums over replicas, after the update."""

        def on_replica(*batch):
            *gradients, sums = compute(*batch)
            apply(*gradients, number)
            return sums

        return strategy.run(on_replica, args=(images, labels))

    def unless_non_finite(images, labels, number):
        """The same, with the update in a conditional, which must be outside of the replicas."""

        def on_replica(*batch):
            before = state.read_moments()
            return *compute(*batch), before

        *gradients, sums, before = strategy.run(on_replica, args=(images, labels))

        def update():
            strategy.run(apply, args=(*gradients, number))
            return tf.constant(0)

        def restore():
            strategy.run(state.assign_moments, args=(before,))
            return tf.constant(0)

        tf.cond(_is_finite(strategy.experimental_local_results(sums)[0]), update, restore)
        return sums

    @tf.function(autograph=False)
    def train_step(batches):
        images, labels = next(batches)
        number = state.step + 1
        sums = (unless_non_finite if state.may_skip else always)(images, labels, number)
        sums = strategy.experimental_local_results(sums)[0]
        finite, metrics = _is_finite(sums), sums[:-1]
        harmless = finite
        if state.may_skip:
            metrics = tf.where(finite, metrics, tf.zeros_like(metrics))
        if scale is not None:
            # A gradient too large for half precision, and only for it: the next scale is smaller.
            harmless |= _is_finite(sums[:-1]) & ~scale.is_smallest
            scale.update(finite)
        state.period.add(metrics)
        state.epoch.add(metrics)
        state.faults.observe(number, finite=finite, harmless=harmless)
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
        metrics: Scalars of one replica.

    Returns:
        float32 tensor of shape (len(metrics),), the same on each replica.
    """
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.stack(metrics))


def _is_finite(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_all(tf.math.is_finite(values))
