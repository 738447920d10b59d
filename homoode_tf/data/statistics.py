# SPDX-License-Identifier: Apache-2.0
"""Mean and deviation of images, channel by channel, measured once."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from homoode_tf.data.source import in_parallel

# The catalog's figures have as many digits; a set given in another way is normalised alike.
_DIGITS = 4
# (mean, deviation) of each colour over ImageNet's images.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Of a channel that is the same in all images, by which nothing can be divided.
_LEAST_DEVIATION = 1e-3


def sums(size: int, read: Callable[[tf.Tensor], tf.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Reads images in parallel; those that cannot be read are passed over.

    Args:
      size: How many there are.
      read: From a scalar int64 index to a uint8 image (height, width, channels).

    Returns:
      Sums of the pixels and of their squares, float64 (size, 2, channels), pixels in 0..1; and
      whether each image could be read, bool (size,).
    """

    def of_one(index):
        pixels = tf.cast(read(index), tf.float64) / 255.0
        return index, tf.reduce_sum(tf.stack([pixels, pixels**2]), axis=(1, 2))

    rows = in_parallel(tf.data.Dataset.range(size), of_one)
    found = np.zeros((size, 2, rows.element_spec[1].shape[-1]))
    is_read = np.zeros(size, bool)
    for index, row in rows.ignore_errors().as_numpy_iterator():
        found[index], is_read[index] = row, True
    return found, is_read


def sums_of(images: np.ndarray) -> np.ndarray:
    """Returns the same sums of uint8 images (n, height, width, channels) in memory."""
    pixels = images / 255.0
    return np.stack([pixels.sum(axis=(1, 2)), (pixels**2).sum(axis=(1, 2))], axis=1)


def mean_and_deviation(
    found: np.ndarray, image_shape: tuple[int, int, int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns both a channel, pixels in 0..1, of what `sums` returned for some images."""
    pixels = max(1, len(found)) * image_shape[0] * image_shape[1]
    mean, square = found.sum(axis=0) / pixels
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    deviation = np.maximum(deviation.round(_DIGITS), _LEAST_DEVIATION)
    return tuple(mean.round(_DIGITS).tolist()), tuple(deviation.tolist())
