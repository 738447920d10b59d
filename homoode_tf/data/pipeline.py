# SPDX-License-Identifier: Apache-2.0
"""From images to batches: division, shuffling, sharding, augmentation, prefetching."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from homoode_tf.checks import check_integer
from homoode_tf.data.augmentation import Augmentation
from homoode_tf.data.settings import DataSettings
from homoode_tf.data.source import Source, Statistics, in_parallel
from homoode_tf.data.statistics import IMAGENET, mean_and_deviation, sums, sums_of
from homoode_tf.errors import InvalidValueError

# Which images are for validation is part of the experiment's definition: it does not change with
# the run's seed, so that runs with different seeds can be compared and averaged.
_VALIDATION_SEED = 20231209
# TF's default of 4 rounds leaves permutations of neighbouring epochs visibly alike (measured:
# correlation 0.6 for 45,000 examples). From 8 on no test told them from random ones.
_SHUFFLE_ROUNDS = 16
_CHUNK = 1024
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
      left_out: The files that are not used, because they are damaged.
      fingerprint: Changes with the images.
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
    left_out: tuple[str, ...] = ()
    fingerprint: str = ""


class ImageData:
    """A data set's train, validation and test images; made by `load`.

    Where there is no validation or no test split, its images are taken from the train split by a
    fixed permutation. A split is read when it is first needed and then kept in memory as uint8:
    training never touches the test split. Sets above `cache_megabytes` are never kept: each batch
    is read and decoded when its time comes, in parallel, and is the same.

    Args:
      source: What is on the disk.
      settings: The fields of a config.
      known: What `info` was when a run began, so that nothing is measured again.

    Attributes:
      info: The `DataInfo` of the data set.

    Example:
      >>> from homoode_tf import data
      >>> digits = data.load("digits")
      >>> for images, labels in digits.train_batches(32, seed=0, num_steps=1):
      ...     print(images.shape, labels.shape)
      (32, 8, 8, 1) (32,)
    """

    def __init__(self, source: Source, settings: DataSettings, known: DataInfo | None = None):
        self._source, self._splits = source, source.splits
        self._parts = _divide(source, settings)
        pixels = sum(split.size for split in self._splits.values()) * math.prod(source.image_shape)
        self._streams = pixels > 1e6 * settings.cache_megabytes
        if self._streams and any(split.read is None for split in self._splits.values()):
            raise InvalidValueError(
                f"{source.name} needs {pixels / 1e6:.0f} MB, more than config.cache_megabytes="
                f"{settings.cache_megabytes}, and its images cannot be read one by one: raise the "
                "limit, or save arrays by np.savez, which packs nothing, and data sets as TFRecords"
            )
        self._read: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
        sizes = {f"num_{part}": indices.size for part, (_, indices) in self._parts.items()}
        mean, std = (known.mean, known.std) if known else self._statistics(source, settings)
        self.info = DataInfo(
            source.name,
            source.image_shape,
            len(source.class_names),
            source.class_names,
            mean,
            std,
            **sizes,
            left_out=source.left_out,
            fingerprint=source.fingerprint,
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

    def arrays(self, part: str) -> tuple[tf.Tensor, tf.Tensor, np.ndarray]:
        """Returns the whole split that a part is taken from, and which of its images are the part.

        Args:
          part: "train", "validation" or "test".

        Returns:
          images: uint8 tensor (images of the split, height, width, channels).
          labels: int64 tensor (images of the split,).
          indices: int64 array (images of the part,).
        """
        split, indices = self._parts[part]
        return *self._tensors(split), indices

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
        part = _on_host(self._parts["train"][1])
        last = tf.constant(self.info.num_train - 1, tf.int64)

        def choose(step: tf.Tensor) -> tf.Tensor:
            epoch, position = step // steps_per_epoch, step % steps_per_epoch
            order = tf.raw_ops.RandomIndexShuffle(
                index=position * batch_size + tf.range(begin, end, dtype=tf.int64),
                seed=tf.stack([seed, epoch, 0]),
                max_index=last,
                rounds=_SHUFFLE_ROUNDS,
            )
            return tf.gather(part, order)

        def augment(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            # Drawn for the global batch: the shards together make up the undivided batch.
            images = augmentation(batch[0], tf.stack([seed, step]), begin, batch_size)
            return augmentation.mix(
                images, batch[1], tf.stack([seed, step, begin]), self.info.num_classes
            )

        steps = tf.data.Dataset.range(first_step, num_steps)
        batches = self._fetch("train", steps, choose, end - begin)
        if not augmentation.is_identity:
            augmentation.prepare()
            batches = in_parallel(tf.data.Dataset.zip(steps, batches), augment)
        return _finish(batches)

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
        part = _on_host(self._parts[split][1])

        def choose(start: tf.Tensor) -> tf.Tensor:
            return part[start : start + (end - begin)]

        starts = tf.data.Dataset.range(begin, part.shape[0], batch_size)
        return _finish(self._fetch(split, starts, choose, end - begin))

    def _fetch(
        self, part: str, steps: tf.data.Dataset, choose: Callable, size: int
    ) -> tf.data.Dataset:
        """The batches of the images that `choose` names for each step: `size` of them, or fewer."""
        split = self._parts[part][0]
        if not self._streams:
            images, labels = self._tensors(split)

            def gather(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                chosen = choose(step)
                return tf.gather(images, chosen), tf.gather(labels, chosen)

            return in_parallel(steps, gather)
        # Image by image, so that what is decoded and not yet used is as little as can be.
        chosen = steps.map(choose)
        is_full = chosen.element_spec.shape[0] is not None
        rows = in_parallel(chosen.unbatch(), self._splits[split].read)
        batches = rows.batch(size, drop_remainder=is_full)
        return batches.apply(tf.data.experimental.assert_cardinality(steps.cardinality()))

    def _tensors(self, split: str) -> tuple[tf.Tensor, tf.Tensor]:
        """The images and labels of a split on disk, read at the first call."""
        if split not in self._read:
            images, labels = self._splits[split].read_all()
            if not 0 <= labels.min() <= labels.max() < len(self._source.class_names):
                raise InvalidValueError(
                    f"split {split!r} of {self._source.name} has labels from {labels.min()} to "
                    f"{labels.max()}, but there are {len(self._source.class_names)} classes"
                )
            self._read[split] = _on_host(images), _on_host(labels)
        return self._read[split]

    def _statistics(self, source: Source, settings: DataSettings) -> Statistics:
        """What the settings name, or that of the train split's images that are not for the test."""
        given = {"imagenet": IMAGENET, "auto": source.known}.get(settings.normalization)
        if given is not None:
            if len(given[0]) != source.image_shape[-1]:
                raise InvalidValueError(
                    f"normalization {settings.normalization!r} has figures of {len(given[0])} "
                    f"channels, but the images of {source.name} have {source.image_shape[-1]}: set "
                    "config.normalization=measured"
                )
            return given
        parts = [where for part, where in self._parts.items() if part != "test"]
        chosen = np.sort(np.concatenate([indices for split, indices in parts if split == "train"]))
        if source.statistics is not None:
            return source.statistics(chosen)
        if not self._streams:
            images, _ = self._tensors("train")
            starts = range(0, chosen.size, _CHUNK)
            chunks = (tf.gather(images, chosen[start : start + _CHUNK]) for start in starts)
            moments = np.concatenate([sums_of(chunk.numpy()) for chunk in chunks])
            return mean_and_deviation(moments, source.image_shape)
        order, read = _on_host(chosen), self._splits["train"].read
        moments, is_read = sums(chosen.size, lambda number: read(order[number])[0])
        if not is_read.all():
            raise OSError(f"{source.name} is damaged: {np.sum(~is_read)} images cannot be read")
        return mean_and_deviation(moments, source.image_shape)


def _divide(source: Source, settings: DataSettings) -> dict[str, tuple[str, np.ndarray]]:
    """Returns for each part the split that it is taken from, and which images of it."""
    total = source.splits["train"].size if "train" in source.splits else 0
    if not total:
        raise InvalidValueError(f"the train split of {source.name} holds no images")
    # RandomState and not default_rng: its stream is frozen for good.
    order, parts = np.random.RandomState(_VALIDATION_SEED).permutation(total), {}
    for part in _EVALUATION_SPLITS:
        if part in source.splits:
            parts[part] = (part, np.arange(source.splits[part].size))
            continue
        fraction = getattr(settings, f"{part}_fraction")
        number = round(total * fraction)
        if not 0 < number < order.size:
            raise InvalidValueError(
                f"{part}_fraction {fraction} of the {total} images in the train split of "
                f"{source.name} is {number}: it must leave both parts at least one"
            )
        parts[part] = ("train", np.sort(order[:number]))
        order = order[number:]
    return {"train": ("train", np.sort(order)), **parts}


def _on_host(array: np.ndarray) -> tf.Tensor:
    """An eager tensor in host memory, which tf.data refers to instead of copying it."""
    with tf.device("CPU:0"):
        return tf.constant(array)


def _finish(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
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
