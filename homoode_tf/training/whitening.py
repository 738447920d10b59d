# SPDX-License-Identifier: Apache-2.0
"""A first convolution that starts as a whitening of the images' patches."""

import keras
import numpy as np
import tensorflow as tf


def whitening_kernel(
    images: np.ndarray, kernel_size: int, filters: int, seed: int = 0, epsilon: float = 1e-2
) -> np.ndarray:
    """Returns a convolution kernel whose outputs are uncorrelated and of equal size.

    With the eigenvectors v_i and eigenvalues l_i of the patches' second moments, largest first,
    the filters are w_i = v_i / sqrt(l_i + epsilon), then -w_i (for the ReLU that follows), then
    random mixtures of the w_i. Natural images have l_i over four orders of magnitude, and a first
    layer that begins by evening this out spares the optimiser the work.

    Args:
        images: Normalised images, float array of shape (n, height, width, channels).
        kernel_size: Height and width of the kernel.
        filters: Number of filters; any beyond the first 2 * kernel_size^2 * channels are random.
        seed: Of the random mixtures.
        epsilon: Added to the eigenvalues; bounds the amplification of noise.

    Returns:
        float32 array of shape (kernel_size, kernel_size, channels, filters).

    Example:
        >>> whitening_kernel(np.random.randn(100, 8, 8, 3), 3, 64).shape
        (3, 3, 3, 64)

    Reference:
        Page, "How to train your ResNet", 2018, part 8;
        Jordan, "94% on CIFAR-10 in 3.29 Seconds", 2024, https://arxiv.org/abs/2404.00498
    """
    window = [1, kernel_size, kernel_size, 1]
    patches = tf.image.extract_patches(images, window, [1, 2, 2, 1], [1] * 4, "VALID")
    patches = patches.numpy().reshape(-1, patches.shape[-1]).astype(np.float64)
    eigenvalues, eigenvectors = np.linalg.eigh(patches.T @ patches / len(patches))
    whitening = (eigenvectors / np.sqrt(eigenvalues + epsilon))[:, ::-1]
    size = len(whitening)
    mixing = np.random.default_rng(seed).normal(size=(size, max(filters - 2 * size, 0)))
    mixtures = whitening @ mixing / np.sqrt(size)
    columns = np.concatenate([whitening, -whitening, mixtures], axis=1)[:, :filters]
    return columns.reshape(kernel_size, kernel_size, -1, filters).astype(np.float32)


def whiten_stem(model: keras.Model, images: tf.Tensor, seed: int) -> None:
    """Sets the first kernel of a model's stem by `whitening_kernel`.

    Args:
        model: A built `homoode_tf.models.ImageClassifier`.
        images: Training images, uint8 tensor of shape (n, height, width, channels).
        seed: Of the random mixtures.
    """
    normalised = model.normalise(images).numpy()
    kernel = model.stem.convolutions[0].kernel
    kernel.assign(whitening_kernel(normalised, kernel.shape[0], kernel.shape[-1], seed))
