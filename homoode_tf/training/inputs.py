# SPDX-License-Identifier: Apache-2.0
"""Batches of images on the replicas that use them."""

from collections.abc import Iterator

import tensorflow as tf

from homoode_tf.data import ImageData
from homoode_tf.errors import InvalidValueError
from homoode_tf.training.settings import TrainingSettings


class Inputs:
    """Hands each replica its share of the global batch.

    Args:
        images: The data set.
        settings: The checked config.
        strategy: The run's distribution strategy.

    Raises:
        InvalidValueError: If the replicas' parts of a batch cannot be equal.
    """

    def __init__(
        self, images: ImageData, settings: TrainingSettings, strategy: tf.distribute.Strategy
    ):
        batch_size, num_parts = settings.batch_size, settings.accumulation_steps
        num_replicas = strategy.num_replicas_in_sync
        if batch_size % (num_replicas * num_parts):
            times = f", times config.accumulation_steps={num_parts}" if num_parts > 1 else ""
            raise InvalidValueError(
                f"config.batch_size must be a multiple of {num_replicas * num_parts}, the number "
                f"of replicas{times}, got {batch_size}."
            )
        self._images = images
        self._settings = settings
        self._strategy = strategy

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of the images; their numbers where they have none."""
        info = self._images.info
        return info.class_names or tuple(map(str, range(info.num_classes)))

    def train(self, first_step: int, num_steps: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Returns the batches of the steps after `first_step` up to `num_steps`.

        Args:
            first_step: Number of steps already made.
            num_steps: Steps of the whole run.

        Returns:
            Iterator over distributed (images, labels) of static shape.
        """
        settings = self._settings

        def pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
            batches = self._images.train_batches(
                settings.batch_size,
                seed=settings.seed,
                first_step=first_step,
                num_steps=num_steps,
                augmentation=settings.augmentation,
                shard=(context.input_pipeline_id, context.num_input_pipelines),
            )
            return self._split(batches)

        return iter(self._strategy.distribute_datasets_from_function(pipeline))

    def evaluation(self, split: str) -> tuple[Iterator[tuple[tf.Tensor, ...]], int]:
        """Returns the batches of a split, each image once, and their number.

        All batches are full: the last is filled up with images of weight zero. So every replica
        has a share of each batch (a solver's step control cannot digest an empty one), and every
        worker makes the same number of steps, as it must where they wait for each other.

        Args:
            split: "validation" or "test".

        Returns:
            Iterator over distributed (images, labels, weights), and the number of batches.
        """
        info, batch_size = self._images.info, self._settings.batch_size
        num_images = {"validation": info.num_validation, "test": info.num_test}[split]
        num_batches = -(-num_images // batch_size)

        def pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
            shard = (context.input_pipeline_id, context.num_input_pipelines)
            worker_batch_size = batch_size // context.num_input_pipelines
            batches = self._images.evaluation_batches(split, batch_size, shard=shard)
            full = batches.map(lambda images, labels: _fill_up(images, labels, worker_batch_size))
            empty = tf.data.Dataset.from_tensors(
                tf.nest.map_structure(
                    lambda spec: tf.zeros(spec.shape, spec.dtype), full.element_spec
                )
            )
            return self._split(full.concatenate(empty.repeat()).take(num_batches))

        return iter(self._strategy.distribute_datasets_from_function(pipeline)), num_batches

    def _split(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Cuts the batches of one worker into those of its replicas."""
        num_replicas = self._strategy.num_replicas_in_sync
        if num_replicas > 1:
            size = self._settings.batch_size // num_replicas
            batches = batches.rebatch(size, drop_remainder=True)
        return batches.prefetch(tf.data.AUTOTUNE)


def _fill_up(
    images: tf.Tensor, labels: tf.Tensor, batch_size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Repeats the images of a batch from its first one up to `batch_size`, with weight zero."""
    present = tf.shape(labels)[0]
    index = tf.range(batch_size) % present
    weights = tf.cast(tf.range(batch_size) < present, tf.float32)
    images = tf.ensure_shape(tf.gather(images, index), (batch_size, *images.shape[1:]))
    return images, tf.ensure_shape(tf.gather(labels, index), (batch_size,)), weights
