# SPDX-License-Identifier: Apache-2.0
"""Images that carry their number, so that a test can tell where each one has gone."""

import numpy as np

CIFAR10_TRAIN, CIFAR10_TEST = 203, 37


def numbered_images(first, count):
    """Random 32x32 images whose first pixel holds their number: (number // 256, number % 256)."""
    images = np.random.default_rng(first).integers(0, 256, (count, 32, 32, 3), np.uint8)
    numbers = np.arange(first, first + count)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers // 256, numbers % 256
    return images


def image_numbers(images):
    """The numbers that `numbered_images` wrote."""
    images = np.asarray(images).astype(int)
    return images[:, 0, 0, 0] * 256 + images[:, 0, 0, 1]
