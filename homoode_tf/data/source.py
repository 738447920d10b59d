# SPDX-License-Identifier: Apache-2.0
"""What every kind of data set gives: its splits, read whole or image by image, and its facts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from homoode_tf.data.resize import resize_and_crop
from homoode_tf.errors import InvalidTypeError, InvalidValueError

# Of an image's height and width.
SMALLEST, LARGEST = 8, 512
# More than any set has; beyond, a matrix of classes by classes would fill the memory.
_CLASSES_END = 2**15
WAYS = (
    "one's own images go by folder:PATH (class-named subfolders), npz:FILE or tfds:NAME "
    "(docs/own_data.md)"
)
_READ_BATCH = 256
Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclasses.dataclass(frozen=True)
class Split:
    """One part of a data set, as it lies on the disk.

    Attributes:
      size: The number of images.
      read: From a scalar int64 index to the image, uint8 of the set's image shape, and its label,
        int64; TF operations only. None where images can only be read one after the other.
      read_all: Returns images, uint8 array (size, height, width, channels), and labels, int64.
    """

    size: int
    read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None
    read_all: Callable[[], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set before it is divided.

    Attributes:
      name: As messages give it.
      image_shape: (height, width, channels) of what the splits read.
      class_names: The names, by label.
      splits: "train" and, where they exist, "validation" and "test".
      known: Mean and deviation a channel, pixels in 0..1, where the set is a known one.
      statistics: From indices into the train split to the same of these images, where that is
        cheaper to have than by reading them.
      fingerprint: Changes with the images; empty where nothing can be said.
      left_out: What in it is not used, and why.
    """

    name: str
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    splits: Mapping[str, Split]
    known: Statistics | None = None
    statistics: Callable[[np.ndarray], Statistics] | None = None
    fingerprint: str = ""
    left_out: tuple[str, ...] = ()


def wanted_shape(
    name: str, shape: Sequence[int | None], image_size: Sequence[int]
) -> tuple[int, int, int]:
    """Returns the (height, width, channels) that a set's images are brought to.

    Args:
      name: Of the set, for the message.
      shape: Of its images: None where the images differ; 1 to 4 channels.
      image_size: The (height, width) that was asked for, or () for the images' own.

    Raises:
      InvalidValueError: The images have no one size of their own, or too small or large a one.
    """
    height, width, channels = shape
    if image_size:
        height, width = image_size
    if height is None or width is None:
        raise InvalidValueError(
            f"the images of {name} have several sizes: set config.image_size=(HEIGHT, WIDTH), to "
            "which all are resized and cropped"
        )
    if not (min(height, width) >= SMALLEST and max(height, width) <= LARGEST):
        raise InvalidValueError(
            f"the images of {name} are of {height}x{width} pixels: set config.image_size to a "
            f"height and a width from {SMALLEST} to {LARGEST}"
        )
    if channels not in (1, 2, 3, 4):
        raise InvalidValueError(f"the images of {name} must have 1 to 4 channels, got {channels}")
    return height, width, 1 if channels < 3 else 3


def fit(image: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Returns an image, or a batch of known shape, in the given one: resized where it is not."""
    given = image.shape[-3:].as_list()
    if tuple(given) == shape:
        return image
    if None not in given:
        return resize_and_crop(image, shape[:2], shape[2])
    return tf.cond(
        tf.reduce_all(tf.shape(image) == shape),
        lambda: tf.ensure_shape(tf.cast(image, tf.uint8), shape),
        lambda: resize_and_crop(image, shape[:2], shape[2]),
    )


def in_parallel(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
    """Maps a dataset on all cores, in its order."""
    # As the function stands: to look for Python's `if` in Keras's layers would take seconds.
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def read_in_turn(size: int, read: Callable, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """Returns what `Split.read_all` does, by a `Split.read`."""
    images, labels = np.empty((size, *shape), np.uint8), np.empty(size, np.int64)
    rows = in_parallel(tf.data.Dataset.range(size), read)
    start = 0
    for some_images, some_labels in rows.batch(_READ_BATCH).as_numpy_iterator():
        end = start + len(some_labels)
        images[start:end], labels[start:end] = some_images, some_labels
        start = end
    return images, labels


def check_labels(name: str, labels: Any, size: int | None = None) -> np.ndarray:
    """Returns labels as int64 array of shape (n,).

    Raises:
      InvalidValueError: They are no classes 0, 1, ..., or not one an image.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise InvalidTypeError(
            f"{name} must be integers of shape (n,), the classes 0, 1, ...; got {labels.dtype} of "
            f"shape {labels.shape}"
        )
    if size is not None and labels.size != size:
        raise InvalidValueError(f"{name} has {labels.size} labels for {size} images")
    if labels.size and labels.min() < 0:
        raise InvalidValueError(f"{name} must be classes 0, 1, ..., got {labels.min()}")
    if labels.size and labels.max() >= _CLASSES_END:
        raise InvalidValueError(
            f"{name} must be classes 0, 1, ... below {_CLASSES_END}, and no ids, got {labels.max()}"
        )
    return labels.astype(np.int64)


def check_classes(name: str, class_names: Sequence[str]) -> tuple[str, ...]:
    """Refuses, with an `InvalidValueError`, less than two classes."""
    if len(class_names) < 2:
        found = f"only {class_names[0]!r}" if class_names else "none"
        raise InvalidValueError(f"{name} must hold images of at least two classes, found {found}")
    return tuple(class_names)
