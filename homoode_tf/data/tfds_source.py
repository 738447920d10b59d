# SPDX-License-Identifier: Apache-2.0
"""A prepared TFDS data set, by its name here or as `tfds:NAME`, with whatever keys it has."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tensorflow as tf

from homoode_tf.data import records, storage
from homoode_tf.data.catalog import CatalogEntry
from homoode_tf.data.source import Source, Split, check_classes, fit, wanted_shape
from homoode_tf.errors import InvalidValueError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

# How TFDS goes through the files of a split, so that what streams has the order of what is kept.
_CYCLE, _BLOCK = 16, 16


def open_tfds(
    name: str,
    builder: tfds.core.DatasetBuilder,
    image_size: Sequence[int],
    entry: CatalogEntry | None = None,
) -> Source:
    """Opens a prepared data set.

    Args:
      name: As messages give it.
      builder: Its builder.
      image_size: The (height, width) to resize and crop to; () for the images' own.
      entry: What the catalog knows of it; None where it is not in the catalog.

    Raises:
      InvalidValueError: It is no image classification, lacks a train split, or is not what the
        catalog knows.
    """
    info = builder.info
    keys = storage.supervised_keys(info)
    image, label = (info.features[key] for key in keys)
    if "train" not in info.splits:
        raise InvalidValueError(
            f"{name} has no split 'train', only {', '.join(map(repr, info.splits)) or 'none'}"
        )
    found = (tuple(image.shape), label.num_classes)
    if entry is not None and found != (entry.image_shape, entry.num_classes):
        raise InvalidValueError(
            f"{builder.data_dir} holds images of shape {found[0]} in {found[1]} classes, "
            f"but {entry.name} has {entry.image_shape} in {entry.num_classes}"
        )
    shape = wanted_shape(name, image.shape, image_size)
    splits = {
        split: _split(builder, split, keys, shape)
        for split in ("train", "validation", "test")
        if split in info.splits and info.splits[split].num_examples
    }
    known = None if entry is None else (entry.mean, entry.std)
    names = check_classes(name, label.names or list(map(str, range(label.num_classes))))
    return Source(name, shape, names, splits, known, fingerprint=info.full_name)


def _split(
    builder: tfds.core.DatasetBuilder, split: str, keys: tuple[str, str], shape: tuple
) -> Split:
    info = builder.info.splits[split]

    @functools.cache
    def places() -> records.Records:
        cycle = 1 if builder.info.disable_shuffling else _CYCLE
        return records.of_tfrecords(info.filepaths).interleaved(cycle, _BLOCK)

    def read(number):
        with tf.init_scope():  # when it is first needed: a set that is kept does without
            found = places()
        example = builder.info.features.deserialize_example(found.read(number))
        return fit(example[keys[0]], shape), tf.cast(example[keys[1]], tf.int64)

    can_stream = str(builder.info.file_format.value) == "tfrecord"
    return Split(
        info.num_examples,
        read if can_stream else None,
        lambda: storage.read_split(builder, split, keys, shape),
    )
