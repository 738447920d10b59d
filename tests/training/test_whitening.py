# SPDX-License-Identifier: Apache-2.0
import numpy as np
import tensorflow as tf

from homoode_tf.training.whitening import whitening_kernel


def smooth_images():
    """Noise blurred by a 5x5 box: neighbouring pixels are strongly correlated."""
    noise = tf.constant(np.random.default_rng(0).normal(size=(200, 20, 20, 2)), tf.float32)
    return tf.nn.avg_pool2d(noise, 5, 1, "VALID").numpy() * 5


def test_outputs_are_uncorrelated_and_of_equal_size():
    images = smooth_images()
    kernel = whitening_kernel(images, 3, 18, epsilon=1e-9)
    outputs = tf.nn.conv2d(images, kernel, 2, "VALID").numpy().reshape(-1, 18)
    np.testing.assert_allclose(outputs.T @ outputs / len(outputs), np.eye(18), atol=1e-3)


def test_epsilon_bounds_the_amplification():
    images = smooth_images()
    kernel = whitening_kernel(images, 3, 18, epsilon=0.1)
    assert np.linalg.norm(kernel.reshape(18, 18), axis=0).max() <= 0.1**-0.5


def test_second_half_mirrors_the_first_and_the_rest_is_random():
    kernel = whitening_kernel(smooth_images(), 3, 40, seed=1)
    np.testing.assert_array_equal(kernel[..., 18:36], -kernel[..., :18])
    other = whitening_kernel(smooth_images(), 3, 40, seed=2)
    np.testing.assert_array_equal(other[..., :36], kernel[..., :36])
    assert np.abs(other[..., 36:] - kernel[..., 36:]).max() > 0.1
