# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from homoode_tf import data


def smooth(height, width, channels, seed=0):
    """An image that can be made smaller without losing all that is in it."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 6, channels)).astype(np.uint8)
    mode = {1: "L", 3: "RGB"}[channels]
    image = Image.fromarray(noise.squeeze(), mode).resize((width, height), Image.BICUBIC)
    return image, np.asarray(image).reshape(height, width, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(30, 40), (64, 48), (200, 130), (12, 9)])
def test_it_does_what_pillow_does(shape, channels):
    image, pixels = smooth(*shape, channels)
    fitted = ImageOps.fit(image, (40, 32), Image.Resampling.BILINEAR)
    expected = np.asarray(fitted).reshape(32, 40, channels).astype(int)
    found = data.resize_and_crop(pixels, (32, 40), channels).numpy()
    assert np.abs(found - expected).max() <= 1


def test_an_image_of_the_right_size_keeps_its_pixels():
    for channels in (1, 3):
        _, pixels = smooth(24, 32, channels)
        found = data.resize_and_crop(pixels, (24, 32), channels)
        np.testing.assert_array_equal(found, pixels)


def test_colours():
    """Grey becomes RGB, RGB luma, and what is transparent shows white."""
    grey = np.full((8, 8, 1), 200, np.uint8)
    np.testing.assert_array_equal(data.resize_and_crop(grey, (8, 8), 3), np.repeat(grey, 3, -1))
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    np.testing.assert_array_equal(data.resize_and_crop(red, (8, 8), 1), np.full((8, 8, 1), 76))
    half = np.zeros((8, 8, 4), np.uint8)
    half[:4, :, 3] = 255
    found = data.resize_and_crop(half, (8, 8), 3).numpy()
    assert (found[:4] == 0).all() and (found[4:] == 255).all()
    found = data.resize_and_crop(half[..., 2:], (8, 8), 1).numpy()
    assert (found[:4] == 0).all() and (found[4:] == 255).all()


def test_batches_and_single_images_within_a_graph_of_unknown_shapes():
    images = np.stack([smooth(20, 30, 3, seed)[1] for seed in range(3)])
    spec = tf.TensorSpec((None, None, None, None), tf.uint8)
    batch = tf.function(lambda x: data.resize_and_crop(x, (16, 16), 1), input_signature=[spec])
    spec = tf.TensorSpec((None, None, None), tf.uint8)
    one = tf.function(lambda x: data.resize_and_crop(x, (16, 16), 1), input_signature=[spec])
    assert batch.get_concrete_function().output_shapes == (None, 16, 16, 1)
    np.testing.assert_array_equal(batch(images), np.stack([one(image) for image in images]))
