# SPDX-License-Identifier: Apache-2.0
"""One training step, compiled, over all replicas."""

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from homoode_tf.errors import UserError
from homoode_tf.graph_errors import reason
from homoode_tf.layers.solver_scope import solver_scope
from homoode_tf.solvers import RungeKutta
from homoode_tf.training.devices.strategy import OF_A_LOST_WORKER
from homoode_tf.training.objective import make_gradient
from homoode_tf.training.optimizers import clip_to_global_norm, squared_norm
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.state import TrainState


class StepError(UserError, RuntimeError):
    """A training or an evaluation step failed."""


@contextlib.contextmanager
def explaining_failures(what: str) -> Iterator[None]:
    """Within this context a failure inside of a graph is a `StepError` that says `what` failed."""
    try:
        yield
    except OF_A_LOST_WORKER:
        raise  # it is not the step's fault
    except tf.errors.OpError as error:
        raise StepError(f"{what} failed: {reason(error)}. Earlier checkpoints are kept.") from error


def make_train_step(
    state: TrainState, settings: TrainingSettings, solver: RungeKutta | None = None
) -> Callable[[Iterator[tuple[tf.Tensor, tf.Tensor]]], None]:
    """Compiles a step: one batch, one gradient, one update of each optimiser.

    Where steps can be skipped (`config.non_finite`, half precision), a step with a non-finite
    loss or gradient leaves everything as it was before, but for the count of steps.

    With `config.jit_compile` XLA compiles the gradient, which is nearly all of a step, and on a
    single replica the update; what replicas tell each other stays outside.

    Args:
        state: What the step changes.
        settings: The checked config.
        solver: Of the implicit layer; None is its own.

    Returns:
        A function of an iterator over distributed batches of images, uint8 of shape (batch,
        height, width, channels), and labels, int64 of shape (batch,). It returns nothing, and
        does not wait for the device: `state.recent_metrics` and `state.epoch_metrics` add up.
    """
    compute, apply = _compute_and_apply(state, settings, solver)
    run = _run_unless_non_finite if state.may_skip else _run_always

    @tf.function(autograph=False)
    def train_step(batches):
        batch, number = next(batches), state.step + 1
        sums = run(state, compute, apply, batch, number)
        sums = state.strategy.experimental_local_results(sums)[0]
        finite, metrics = _is_finite(sums), sums[:-1]
        harmless = finite
        if state.may_skip:
            metrics = tf.where(finite, metrics, tf.zeros_like(metrics))
        if state.loss_scale is not None:
            # A gradient too large for half precision, and only for it: the next scale is smaller.
            harmless |= _is_finite(sums[:-1]) & ~state.loss_scale.is_smallest
            state.loss_scale.update(finite)
        state.recent_metrics.add(metrics)
        state.epoch_metrics.add(metrics)
        state.non_finite_steps.count(number, finite=finite, harmless=harmless)
        state.step.assign(number)

    return train_step


def _compute_and_apply(state, settings, solver):
    """Returns the two halves of a step in replica context: gradients and sums, and the update."""
    model, num_replicas = state.model, state.strategy.num_replicas_in_sync
    gradient = make_gradient(model, settings, num_replicas)

    def compute(images, labels):
        scale = None if state.loss_scale is None else tf.convert_to_tensor(state.loss_scale.value)
        with solver_scope(solver):  # here, for each replica may have a thread of its own
            *gradients, metrics = gradient(images, labels, scale)
        state.agree_on_step_sizes()
        # One all-reduce for the metrics and for whether all is finite.
        squares = squared_norm(tf.nest.flatten(gradients))
        return *gradients, sum_over_replicas([*tf.unstack(metrics), squares])

    def apply(task_gradients, initial_point_gradients, number):
        task_gradients = clip_to_global_norm(task_gradients, settings.optimizer.clip_norm)
        state.task_optimizer.apply(task_gradients, model.task_variables)
        if state.initial_point_optimizer is not None:
            variables = model.initial_point_variables
            state.initial_point_optimizer.apply(initial_point_gradients, variables)
        if state.average is not None:
            state.average.update(number)

    if settings.jit_compile:
        gradient = tf.function(gradient, autograph=False, jit_compile=True)
        if num_replicas == 1:
            apply = tf.function(apply, autograph=False, jit_compile=True)
    return compute, apply


def _run_always(state, compute, apply, batch, number):
    """Returns the sums over replicas, after the update."""

    def on_replica(*batch):
        *gradients, sums = compute(*batch)
        apply(*gradients, number)
        return sums

    return state.strategy.run(on_replica, args=batch)


def _run_unless_non_finite(state, compute, apply, batch, number):
    """The same, with the update in a conditional, which must be outside of the replicas."""
    strategy = state.strategy

    def on_replica(*batch):
        before = [tf.identity(moment) for moment in state.moments]
        return *compute(*batch), before

    *gradients, sums, before = strategy.run(on_replica, args=batch)

    def update():
        strategy.run(apply, args=(*gradients, number))
        return tf.constant(0)

    def assign_moments(values):
        for moment, value in zip(state.moments, values, strict=True):
            moment.assign(value)

    def restore():
        strategy.run(assign_moments, args=(before,))
        return tf.constant(0)

    tf.cond(_is_finite(strategy.experimental_local_results(sums)[0]), update, restore)
    return sums


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
