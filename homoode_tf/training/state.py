# SPDX-License-Identifier: Apache-2.0
"""Everything that changes while a model trains."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import ODELayer
from homoode_tf.training.non_finite import NonFiniteSteps
from homoode_tf.training.optimizers import (
    LossScale,
    WeightAverage,
    build_initial_point_optimizer,
    build_task_optimizer,
)
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.watch.metric_sums import MetricSums

# Far apart, so that no replica's dropout seed is another run's.
_SEED_STRIDE = 1_000_003


class TrainState:
    """Model, optimisers, average, counters: what a checkpoint holds and a step changes.

    Must be made outside of `strategy.scope()`, with a model made inside of it.

    Args:
        model: A classifier as `homoode_tf.models.build` makes it.
        settings: The checked config.
        total_steps: Steps of the whole run.
        strategy: The run's distribution strategy.

    Attributes:
        step: int64 scalar variable, the number of updates made.
        non_finite_steps: Counts them.
        loss_scale: Of half precision; None where none is needed.
        may_skip: Whether a non-finite step leaves everything as it was.
        recent_metrics: Sums since the last line of metrics.
        epoch_metrics: Sums since the epoch began.

    Raises:
        InvalidValueError: If weights have several dtypes, on several replicas.
    """

    def __init__(
        self,
        model: keras.Model,
        settings: TrainingSettings,
        total_steps: int,
        strategy: tf.distribute.Strategy,
    ):
        _check_dtypes(model.trainable_variables, strategy)
        self.model = model
        self.strategy = strategy
        # Plain variables, made outside the strategy's scope: steps add to them what has already
        # been summed over replicas.
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.non_finite_steps = NonFiniteSteps(settings.non_finite)
        self.loss_scale = LossScale() if settings.precision == "mixed_float16" else None
        self.may_skip = settings.non_finite == "skip" or self.loss_scale is not None
        self.recent_metrics = MetricSums("recent_metrics")
        self.epoch_metrics = MetricSums("epoch_metrics")
        self.average = None
        averaging = settings.weight_averaging
        with strategy.scope():
            self.task_optimizer = build_task_optimizer(
                settings.optimizer, total_steps, model.task_variables
            )
            self.initial_point_optimizer = build_initial_point_optimizer(
                settings, total_steps, model.initial_point_variables
            )
            if averaging.momentum > 0:
                floating = [variable for variable in model.variables if _is_floating(variable)]
                start_step = round(averaging.start_fraction * total_steps)
                self.average = WeightAverage(floating, averaging.momentum, start_step)

    def variables(self) -> dict[str, tf.Variable]:
        """Returns every variable under a name that is the same in each process.

        An explicit mapping, because `tf.train.Checkpoint` does not find all by itself: in Keras
        3.15 it misses layers held in lists and the states of seed generators, silently. The
        names are numbered since Keras counts up names of layers within a process.
        """
        groups = {
            "model": _values(self.model),
            "task_optimizer": _values(self.task_optimizer),
            "counter": [self.step, self.recent_metrics.variable, self.epoch_metrics.variable],
        }
        if self.initial_point_optimizer is not None:
            groups["initial_point_optimizer"] = _values(self.initial_point_optimizer)
        if self.average is not None:
            groups["average"] = self.average.averages
        if self.may_skip:
            groups["skipped"] = [self.non_finite_steps.skipped]
        if self.loss_scale is not None:
            groups["loss_scale"] = [self.loss_scale.value, self.loss_scale.finite_steps]
        return {
            f"{group}_{number:04d}": variable
            for group, variables in groups.items()
            for number, variable in enumerate(variables)
        }

    def wait_for_device(self) -> None:
        """Returns when all steps asked for are made."""
        self.step.numpy()

    @property
    def moments(self) -> list[tf.Variable]:
        """Batch norm's moments and what the solvers remember."""
        return [v.value for v in self.model.non_trainable_variables if _is_floating(v)]

    def agree_on_step_sizes(self) -> None:
        """Sets the first step that solvers remember to the smallest of all replicas' ones.

        So replicas take what one replica with all images would. In replica context.
        """
        if self.strategy.num_replicas_in_sync == 1:
            return
        replica = tf.distribute.get_replica_context()
        for layer in self.model._flatten_layers():
            if isinstance(layer, ODELayer) and layer.step_size is not None:
                own = tf.reshape(tf.convert_to_tensor(layer.step_size.value), [1])
                layer.step_size.assign(tf.reduce_min(replica.all_gather(own, axis=0)))

    def separate_random_states(self) -> None:
        """Gives each replica's seed generators a seed of their own.

        They are made equal, and a checkpoint holds the first replica's only: without this all
        replicas would drop the same channels. Call it once after building or restoring.
        """
        if self.strategy.num_replicas_in_sync == 1:
            return
        seeds = [v.value for v in self.model.variables if v.name == "seed_generator_state"]

        @tf.function(autograph=False)
        def separate():
            def on_replica():
                replica = tf.distribute.get_replica_context().replica_id_in_sync_group
                for seed in seeds:
                    offset = tf.cast(tf.stack([replica * _SEED_STRIDE, 0]), seed.dtype)
                    seed.assign(seed + offset)

            self.strategy.run(on_replica)

        separate()

    def synchronise(self) -> None:
        """Sets what differs between replicas, batch norm's running moments, to their mean.

        Being linear, it leaves the mean of what follows as it is: it may be called at any time.
        """
        if self.strategy.num_replicas_in_sync > 1:
            self._synchronise()

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within this context the model has its averaged weights, where these are kept."""
        self.synchronise()
        if self.average is None:
            yield
            return
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @tf.function(autograph=False)
    def _synchronise(self):
        local = self.moments
        if self.average is not None:
            local = local + self.average.averages

        def on_replica():
            replica = tf.distribute.get_replica_context()
            # identity, because a variable's bare value has no device that says where to reduce.
            means = replica.all_reduce(tf.distribute.ReduceOp.MEAN, [tf.identity(v) for v in local])
            for variable, mean in zip(local, means, strict=True):
                variable.assign(mean)

        if local:
            self.strategy.run(on_replica)

    @tf.function(autograph=False)
    def _exchange(self):
        self.strategy.run(self.average.exchange)


def _values(holder: keras.Model | keras.optimizers.Optimizer) -> list[tf.Variable]:
    return [variable.value for variable in holder.variables]


def _is_floating(variable: keras.Variable) -> bool:
    return variable.value.dtype.is_floating


def _check_dtypes(weights: Sequence[keras.Variable], strategy: tf.distribute.Strategy) -> None:
    first = {}
    for weight in weights:
        first.setdefault(weight.dtype, weight.path)
    if len(first) > 1 and strategy.num_replicas_in_sync > 1:
        named = " and ".join(f"{dtype} ({path})" for dtype, path in first.items())
        raise InvalidValueError(
            f"TensorFlow sums the gradients of {strategy.num_replicas_in_sync} replicas in one "
            f"piece, for which all weights must have one dtype; they have {named}. Make those of "
            "your own in float32, and cast them where they are used, or train on one device."
        )
