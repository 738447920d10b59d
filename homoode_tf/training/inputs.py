# SPDX-License-Identifier: Apache-2.0
"""Batches of images on the replicas that use them."""

from collections.abc import Iterator

import tensorflow as tf

from homoode_tf.data import Augmentation, ImageData
from homoode_tf.errors import InvalidValueError


class Inputs:
    """Hands each replica its share of the global batch.

    Args:
        images: The data set.
        batch_size: Images of one step, over all replicas.
        strategy: The run's distribution strategy.
        num_parts: Parts into which a replica divides its share.

    Raises:
        InvalidValueError: If the replicas' parts of a batch cannot be equal.
    """

    def __init__(
        self,
        images: ImageData,
        batch_size: int,
        strategy: tf.distribute.Strategy,
        num_parts: int = 1,
    ):
        num_replicas = strategy.num_replicas_in_sync
        if batch_size % (num_replicas * num_parts):
            times = f", times config.accumulation_steps={num_parts}" if num_parts > 1 else ""
            raise InvalidValueError(
                f"config.batch_size must be a multiple of {num_replicas * num_parts}, the number "
                f"of replicas{times}, got {batch_size}."
            )
        self._images = images
        self._batch_size = batch_size
        self._replica_batch_size = batch_size // num_replicas
        self._strategy = strategy

    def train(
        self, *, seed: int, first_step: int, num_steps: int, augmentation: Augmentation
    ) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Returns the batches of the steps after `first_step` up to `num_steps`.

        Args:
            seed: Of the order of the images and of their augmentation.
            first_step: Number of steps already made.
            num_steps: Steps of the whole run.
            augmentation: What is done to the images.

        Returns:
            Iterator over distributed (images, labels) of static shape.
        """

        def pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
            batches = self._images.train_batches(
                self._batch_size,
                seed=seed,
                first_step=first_step,
                num_steps=num_steps,
                augmentation=augmentation,
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
        info = self._images.info
        num_images = {"validation": info.num_validation, "test": info.num_test}[split]
        num_batches = -(-num_images // self._batch_size)

        def pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
            shard = (context.input_pipeline_id, context.num_input_pipelines)
            worker_batch_size = self._batch_size // context.num_input_pipelines
            batches = self._images.evaluation_batches(split, self._batch_size, shard=shard)
            full = batches.map(lambda *batch: _fill_up(*batch, worker_batch_size))
            empty = tf.data.Dataset.from_tensors(
                tf.nest.map_structure(
                    lambda spec: tf.zeros(spec.shape, spec.dtype), full.element_spec
                )
            )
            return self._split(full.concatenate(empty.repeat()).take(num_batches))

        return iter(self._strategy.distribute_datasets_from_function(pipeline)), num_batches

    def _split(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Cuts the batches of one worker into those of its replicas."""
        if self._strategy.num_replicas_in_sync > 1:
            batches = batches.rebatch(self._replica_batch_size, drop_remainder=True)
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
