# SPDX-License-Identifier: Apache-2.0
"""SavedModels for the tests of `homoode_tf.serving.predict`."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import models
from homoode_tf.serving import export

NAMES = ["dark", "middle", "bright"]


def save_module(directory, serve, class_names=(), signature="serve"):
    module = tf.Module()
    module.serve = serve
    if class_names:
        module.class_names = tf.function(lambda: tf.constant(list(class_names)), input_signature=[])
    tf.saved_model.save(module, str(directory), signatures={signature: serve})
    return directory


def save_brightness(directory, image_shape, class_names=()):
    """Saves a model whose three classes are the mean brightness 0, 127.5 and 255.

    It fails, as a solver may, on an image of nothing but 13.
    """

    @tf.function(input_signature=[tf.TensorSpec((None, *image_shape), tf.uint8, name="images")])
    def serve(images):
        unlucky = tf.reduce_any(tf.reduce_all(tf.equal(images, 13), axis=[1, 2, 3]))
        tf.debugging.Assert(tf.logical_not(unlucky), ["bosh3: an unlucky number"])
        means = tf.reduce_mean(tf.cast(images, tf.float32), axis=[1, 2, 3])
        logits = -tf.abs(means[:, None] - [0.0, 127.5, 255.0]) / 32.0
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "class": tf.argmax(logits, axis=-1),
        }

    return save_module(directory, serve, class_names)


@pytest.fixture(scope="session")
def brightness(tmp_path_factory):
    """Classifies 8x8 gray images, and knows the names of its classes."""
    return save_brightness(tmp_path_factory.mktemp("brightness") / "saved", (8, 8, 1), NAMES)


@pytest.fixture(scope="session")
def nameless(tmp_path_factory):
    """Classifies 6x8 colour images, and has no names."""
    return save_brightness(tmp_path_factory.mktemp("nameless") / "saved", (6, 8, 3))


def random_images(count, image_shape=(8, 8, 1)):
    return np.random.default_rng(0).integers(0, 256, (count, *image_shape)).astype(np.uint8)


@pytest.fixture(scope="session")
def homoode(tmp_path_factory):
    """A small HomoODE as `make train` exports it, and what it says by itself of some images."""
    keras.utils.set_random_seed(0)
    config = importlib.import_module("configs.digits").get_config().model
    config.update({"channels": 4, "head_channels": 6, "groups": 2})
    model = models.build(config, (8, 8, 1), 10, mean=[0.3], std=[0.4])
    model(tf.zeros([16, 8, 8, 1]), training=True)
    directory = tmp_path_factory.mktemp("export") / "saved_model"
    export.save(model, directory, (8, 8, 1), [f"class {number}" for number in range(10)])
    return directory, model(random_images(40), training=False).numpy()
