# SPDX-License-Identifier: Apache-2.0
"""From arrays in memory to batches: division, shuffling, sharding, augmentation, prefetching."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from homoode_tf.checks import check_integer
from homoode_tf.data import catalog, storage
from homoode_tf.data.augmentation import Augmentation, crop_and_flip
from homoode_tf.data.settings import DataSettings, is_image_data
from homoode_tf.errors import InvalidValueError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

# Which images are for validation is part of the experiment's definition: it does not change with
# the run's seed, so that runs with different seeds can be compared and averaged.
_VALIDATION_SEED = 20231209
# TF's default of 4 rounds leaves permutations of neighbouring epochs visibly alike (measured:
# correlation 0.6 for 45,000 examples). From 8 on no test told them from random ones.
_SHUFFLE_ROUNDS = 16
_EVALUATION_SPLITS = ("validation", "test")


@dataclasses.dataclass(frozen=True)
class DataInfo:
    """What is known of a data set without reading its images.

    Attributes:
      name: The name of the data set.
      image_shape: (height, width, channels).
      num_classes: The number of classes.
      class_names: Their names, by label.
      mean: The mean of each channel, pixels in 0..1.
      std: The standard deviation of each channel, pixels in 0..1.
      num_train: Images in the part of the train split that is trained on.
      num_validation: Images in the part of the train split that is kept for validation.
      num_test: Images in the test split.
    """

    name: str
    image_shape: tuple[int, int, int]
    num_classes: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_train: int
    num_validation: int
    num_test: int


def load(
    name: str | ImageData,
    *,
    data_dir: str | os.PathLike | None = None,
    validation_fraction: float = 0.1,
) -> ImageData:
    """Opens a data set that is on disk; nothing is ever downloaded here.

    `digits` is made on the spot from what scikit-learn carries. All others are fetched once with
    `python -m homoode_tf.data NAME`.

    Args:
      name: One of `homoode_tf.data.names()`, or an object with the interface of `ImageData`, which
        is returned as it is.
      data_dir: The folder of TFDS data sets; None is TFDS's default, `~/tensorflow_datasets`.
      validation_fraction: The share of the train split that is kept for validation, 0 < f < 1.

    Returns:
      The data set, no image read yet.

    Raises:
      InvalidValueError: Unknown name, or a fraction that leaves a part empty.
      DataNotFoundError: The data set is not in `data_dir`; the message says how to fetch it.
      OSError: `digits` cannot be written to `data_dir`.

    Example:
      >>> digits = load("digits")
      >>> digits.info.image_shape, digits.info.num_train
      ((8, 8, 1), 1293)
    """
    settings = DataSettings(name, validation_fraction)
    dataset = settings.dataset
    if is_image_data(dataset):
        return dataset
    entry = catalog.find(dataset)
    if entry.open_images is not None:
        return entry.open_images(data_dir, settings.validation_fraction)
    return ImageData(entry, storage.open_prepared(dataset, data_dir), settings.validation_fraction)


class ImageData:
    """A data set's train, validation and test images; made by `load`.

    The train split is divided by a fixed permutation into a train and a validation part. A split
    is read when it is first needed and then kept in memory as uint8: training never touches the
    test split.

    Attributes:
      info: The `DataInfo` of the data set.

    Example:
      >>> digits = load("digits")
      >>> for images, labels in digits.train_batches(32, seed=0, num_steps=1):
      ...     print(images.shape, labels.shape)
      (32, 8, 8, 1) (32,)
    """

    def __init__(
        self,
        entry: catalog.CatalogEntry,
        builder: tfds.core.DatasetBuilder,
        validation_fraction: float,
    ):
        features, splits = builder.info.features, builder.info.splits
        found = (tuple(features["image"].shape), features["label"].num_classes)
        if found != (entry.image_shape, entry.num_classes):
            raise InvalidValueError(
                f"{builder.data_dir} holds images of shape {found[0]} in {found[1]} classes, "
                f"but {entry.name} has {entry.image_shape} in {entry.num_classes}"
            )
        total = splits["train"].num_examples
        num_validation = round(total * validation_fraction)
        if not 0 < num_validation < total:
            raise InvalidValueError(
                f"validation_fraction {validation_fraction} of the {total} images in the train "
                f"split of {entry.name} is {num_validation}: it must leave both parts at least one"
            )
        # RandomState and not default_rng: its stream is frozen for good.
        order = np.random.RandomState(_VALIDATION_SEED).permutation(total)
        self._indices = {
            "train": np.sort(order[num_validation:]),
            "validation": np.sort(order[:num_validation]),
            "test": np.arange(splits["test"].num_examples),
        }
        self._builder = builder
        self._read: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        self.info = DataInfo(
            name=entry.name,
            image_shape=entry.image_shape,
            num_classes=entry.num_classes,
            class_names=tuple(features["label"].names),
            mean=entry.mean,
            std=entry.std,
            num_train=total - num_validation,
            num_validation=num_validation,
            num_test=splits["test"].num_examples,
        )

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of full batches in the train part.

        Raises:
          InvalidValueError: The train part does not fill one batch.
        """
        check_integer("batch_size", batch_size, at_least=1)
        if batch_size > self.info.num_train:
            raise InvalidValueError(
                f"batch_size {batch_size} is larger than the train part of {self.info.name}, "
                f"{self.info.num_train} images"
            )
        return self.info.num_train // batch_size

    def train_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        num_steps: int,
        first_step: int = 0,
        augmentation: Augmentation | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> tf.data.Dataset:
        """Returns the batches of steps first_step, ..., num_steps - 1.

        Batch k is a function of (seed, k) alone: with s = steps_per_epoch(batch_size), it is the
        (k mod s)-th slice of the permutation that (seed, k div s) chooses, augmented with random
        numbers that (seed, k) chooses. So a run that starts again at step k goes on as if it had
        never stopped, at no cost. The images that do not fill a batch are left out of that epoch.

        Args:
          batch_size: Images in a global batch.
          seed: The run's seed, 0 <= seed < 2**31.
          num_steps: The step at which the run ends; may exceed one epoch.
          first_step: The step to start from.
          augmentation: What is done to the images; None leaves them as they are.
          shard: (index, count): only the index-th of count equal slices of every global batch,
            for one replica or process of several. This is the only sharding: `tf.distribute`'s
            automatic one is turned off for this dataset.

        Returns:
          A dataset of (images, labels): uint8 (batch_size / count, height, width, channels) and
          int64 (batch_size / count,).

        Raises:
          InvalidTypeError: A number that must be an integer is not.
          InvalidValueError: A number is out of range, or batch_size is not divisible by count.
        """
        steps_per_epoch = self.steps_per_epoch(batch_size)
        check_integer("num_steps", num_steps, at_least=0)
        check_integer("first_step", first_step, at_least=0)
        if first_step > num_steps:
            raise InvalidValueError(
                f"first_step {first_step} is greater than num_steps {num_steps}"
            )
        # TF's index shuffle reads 31 bits of its seed and ignores the others.
        check_integer("seed", seed, at_least=0)
        begin, end = _shard_bounds(batch_size, shard)
        augmentation = augmentation or Augmentation()
        images, labels = self._tensors("train")
        part = _on_host(self._indices["train"])
        last = tf.constant(self.info.num_train - 1, tf.int64)

        def make_batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            epoch, position = step // steps_per_epoch, step % steps_per_epoch
            order = tf.raw_ops.RandomIndexShuffle(
                index=position * batch_size + tf.range(begin, end, dtype=tf.int64),
                seed=tf.stack([seed, epoch, 0]),
                max_index=last,
                rounds=_SHUFFLE_ROUNDS,
            )
            chosen = tf.gather(part, order)
            batch = tf.gather(images, chosen)
            if not augmentation.is_identity:
                # Drawn for the global batch: the shards together make up the undivided batch.
                offsets, flips = augmentation.draw(batch_size, tf.stack([seed, step]))
                batch = crop_and_flip(
                    batch, offsets[begin:end], flips[begin:end], augmentation.crop_padding
                )
            return batch, tf.gather(labels, chosen)

        return _map_in_parallel(tf.data.Dataset.range(first_step, num_steps), make_batch)

    def evaluation_batches(
        self, split: str, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> tf.data.Dataset:
        """Returns every image of a split once, in a fixed order; the last batch may be smaller.

        Args:
          split: "validation" or "test". The test split is read from disk when first asked for.
          batch_size: Images in a global batch; may exceed the split.
          shard: (index, count): only the index-th of count equal slices of every global batch.
            The shards together hold every image once. Where the last global batch does not reach
            a shard, that shard has one batch fewer: no batch is ever empty.

        Returns:
          A dataset of (images, labels): uint8 (n, height, width, channels) and int64 (n,), with n
          at most batch_size / count.

        Raises:
          InvalidTypeError: A number that must be an integer is not.
          InvalidValueError: Unknown split, or a number out of range.
        """
        if split not in _EVALUATION_SPLITS:
            raise InvalidValueError(
                f"unknown split {split!r}; known: {', '.join(_EVALUATION_SPLITS)}"
            )
        check_integer("batch_size", batch_size, at_least=1)
        begin, end = _shard_bounds(batch_size, shard)
        images, labels = self._tensors("test" if split == "test" else "train")
        part = _on_host(self._indices[split])

        def make_batch(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            chosen = part[start : start + (end - begin)]
            return tf.gather(images, chosen), tf.gather(labels, chosen)

        starts = tf.data.Dataset.range(begin, self._indices[split].size, batch_size)
        return _map_in_parallel(starts, make_batch)

    def _tensors(self, split: str) -> tuple[tf.Tensor, tf.Tensor]:
        """The images and labels of a split on disk, read at the first call."""
        if split not in self._read:
            arrays = storage.read_split(self._builder, split)
            self._read[split] = tuple(_on_host(array) for array in arrays)
        return self._read[split]


def _on_host(array: np.ndarray) -> tf.Tensor:
    """An eager tensor in host memory, which tf.data refers to instead of copying it."""
    with tf.device("CPU:0"):
        return tf.constant(array)


def _map_in_parallel(dataset: tf.data.Dataset, make_batch) -> tf.data.Dataset:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    dataset = dataset.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _shard_bounds(batch_size: int, shard: tuple[int, int]) -> tuple[int, int]:
    """The slice of a global batch that belongs to a shard."""
    try:
        index, count = shard
    except (TypeError, ValueError):
        raise InvalidValueError(f"shard must be (index, count), got {shard!r}") from None
    check_integer("shard count", count, at_least=1)
    check_integer("shard index", index, at_least=0, below=count)
    if batch_size % count:
        raise InvalidValueError(
            f"batch_size {batch_size} is not divisible by the shard count {count}"
        )
    size = batch_size // count
    return index * size, (index + 1) * size
