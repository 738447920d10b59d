# SPDX-License-Identifier: Apache-2.0
"""Writes a trained classifier as a SavedModel that needs nothing of this package to run."""

import pathlib
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from homoode_tf.checks import check_path
from homoode_tf.data import orientation
from homoode_tf.data.resize import resize_and_crop
from homoode_tf.layers.serving_scope import serving_scope
from homoode_tf.serving import checksums

SIGNATURE = "serve"
# By its bits a pixel.
_BMP, _BMP_WITH_PALETTE = r"BM\C*", r"BM\C{26}[\x01-\x08]\x00\C*"


def save(
    model: keras.Model,
    directory: str | pathlib.Path,
    image_shape: Sequence[int],
    class_names: Sequence[str] = (),
    step_control: str = "sample",
) -> None:
    """Saves `model` with its preprocessing, under three signatures.

    * `serve` takes `images`, uint8 of shape (batch, height, width, channels) with any batch size, 0
      included, and returns `logits` and `probabilities`, float32 of shape (batch, classes), and
      `class`, int64 of shape (batch,);
    * `serving_default` takes the same, and returns `class_name`, too, where names were given;
    * `serve_bytes` returns this for `image_bytes`, strings of shape (batch,): whole files, PNG,
      JPEG, WebP, BMP or GIF (its first frame), decoded, a JPEG turned upright as its EXIF says,
      resized and cropped. There is none where images have neither 1 nor 3 channels.

    Where names were given, the loaded object has a method `class_names()` that returns them as a
    string tensor. `tf.saved_model.load` reads it in a process without this package.

    Args:
        model: A classifier from images in 0..255 to logits, such as `models.ImageClassifier`.
        directory: Where to write; an earlier SavedModel there is replaced.
        image_shape: (height, width, channels) of the images.
        class_names: Names of the classes, in the order of the logits.
        step_control: How the solvers of the model's implicit layers step: "sample", so that an
            image's answer does not depend on the images beside it, or "batch".

    Raises:
        ValueError: If a solver cannot step so, or TensorFlow would take the path for another.

    Example:
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
        >>> save(keras.Sequential(layers), "saved_model", (8, 8, 1))
        >>> serve = tf.saved_model.load("saved_model").signatures["serve"]
        >>> serve(images=tf.zeros([5, 8, 8, 1], tf.uint8))["class"].shape
        TensorShape([5])
    """
    directory = check_path("directory", directory)
    spec = tf.TensorSpec((None, *image_shape), tf.uint8, name="images")

    @tf.function(input_signature=[spec])
    def serve(images):
        # A loaded signature does not check shapes itself, and a convolution that gets a wrong
        # one may end the process.
        images = tf.ensure_shape(images, spec.shape)
        count = tf.shape(images)[0]
        # TensorFlow's fused convolutions answer nothing with a wrong shape: ask about one image
        # where there is none, and drop the answer.
        spare = tf.zeros([tf.cast(tf.equal(count, 0), tf.int32), *image_shape], tf.uint8)
        logits = model(tf.concat([images, spare], axis=0), training=False)[:count]
        return {
            "logits": logits,
            "probabilities": tf.nn.softmax(logits),
            "class": tf.argmax(logits, axis=-1),
        }

    @tf.function(input_signature=[spec])
    def serve_named(images):
        answer = serve(images)
        if class_names:
            answer["class_name"] = tf.gather(tf.constant(list(class_names)), answer["class"])
        return answer

    signatures = {SIGNATURE: serve, "serving_default": serve_named}
    if image_shape[-1] in (1, 3):
        signatures["serve_bytes"] = _of_files(serve_named, image_shape)

    module = tf.Module()
    # Only the variables: tracking the model would save one more traced call for every layer.
    module.state = [variable.value for variable in model.variables]
    module.serve = serve
    if class_names:
        module.class_names = tf.function(lambda: tf.constant(list(class_names)), input_signature=[])
    with serving_scope(step_control):
        tf.saved_model.save(
            module,
            directory,
            signatures=signatures,
            # Serving needs no gradients, and saving them would trace every backward pass.
            options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
        )
    checksums.write(directory)


def _of_files(answer: Callable[[tf.Tensor], dict], image_shape: Sequence[int]) -> tf.function:
    """Returns a function of whole files that answers as another one does of images."""
    *size, channels = image_shape

    @tf.autograph.experimental.do_not_convert
    def decode(content):
        is_bmp = tf.strings.regex_full_match(content, _BMP)
        # TensorFlow gives the numbers of the colours as their grey.
        palette = tf.strings.regex_full_match(content, _BMP_WITH_PALETTE)
        tf.debugging.Assert(~palette, ["BMP with a palette: give one of 24 bits, or a PNG"])
        image = tf.io.decode_image(content, expand_animations=False)
        # The fourth channel of a BMP is filled with anything.
        number = tf.where(is_bmp, 3, tf.shape(image)[-1])
        image = tf.cast(image[..., :number], tf.float32)
        image = orientation.upright(image, orientation.of_jpeg(content))
        return resize_and_crop(image, size, channels)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def serve_bytes(image_bytes):
        images = tf.TensorSpec(tuple(image_shape), tf.uint8)
        return answer(tf.map_fn(decode, image_bytes, fn_output_signature=images))

    return serve_bytes
