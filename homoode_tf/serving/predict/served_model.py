# SPDX-License-Identifier: Apache-2.0
"""An exported classifier, loaded and checked.

TensorFlow is imported when a model is loaded, not before: a wrong flag of the command is answered
at once, and the command sets TensorFlow's log level first.
"""

import dataclasses
import os
import re

import numpy as np

from homoode_tf.errors import InvalidValueError, UserError
from homoode_tf.graph_errors import reason_lines
from homoode_tf.serving import saved_model
from homoode_tf.serving.saved_model import ModelError

SIGNATURE = "serve"
# A signature in words, as `_describe` gives them.
_TAKES = re.compile(r"images: uint8 \(None, (\d+), (\d+), ([13])\)")
_RETURNS = re.compile(
    r"\bclass: \w+ \(\w+,\).*\blogits: \w+ \(\w+, \w+\).*\bprobabilities: \w+ \(\w+, (\w+)\)"
)


class PredictionError(UserError, RuntimeError):
    """The model failed on these images, as by a solver that did not reach its final time."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model says of n images.

    Attributes:
        classes: int64 array of shape (n,), the most probable class of each image.
        probabilities: float32 array of shape (n, number of classes).
        logits: float32 array of shape (n, number of classes).
    """

    classes: np.ndarray
    probabilities: np.ndarray
    logits: np.ndarray

    def most_probable(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the `count` most probable classes of each image, most probable first.

        Args:
            count: At least 1; where there are fewer classes, all of them.

        Returns:
            The classes, int64, and their probabilities, float32, both of shape (n, count). Classes
            with equal logits stand in the order of their numbers.
        """
        # By logits, as `classes` is: two of them can round to the same probability.
        order = np.argsort(-self.logits, axis=-1, kind="stable")[:, :count]
        return order, np.take_along_axis(self.probabilities, order, axis=-1)


class ServedModel:
    """A SavedModel written by `serving.export.save`, to be asked from any number of threads.

    Args:
        directory: The SavedModel's folder, or the one that holds its versions.

    Attributes:
        image_shape: (height, width, channels) of the images.
        num_classes: How many classes the model tells apart.
        class_names: Their names, or None where the export has none.

    Raises:
        ModelError: If the folder holds no SavedModel or a damaged one, if it lacks the signature
            `serve` of `serving.export.save`, or if its images have neither 1 nor 3 channels.

    Example:
        >>> from homoode_tf.serving import export
        >>> layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
        >>> export.save(keras.Sequential(layers), "saved_model", (8, 8, 1))
        >>> model = ServedModel("saved_model")
        >>> model.predict(np.zeros((5, 8, 8, 1), np.uint8)).probabilities.shape
        (5, 10)
    """

    def __init__(self, directory: str | os.PathLike):
        # Kept as a whole: the signature alone does not keep the variables alive.
        self._loaded, self._serve = saved_model.load(directory, (SIGNATURE,))
        try:
            self.image_shape, self.num_classes = _check_signature(self._serve)
            self.class_names = self._read_class_names()
        except ModelError as error:
            raise ModelError(f"{directory}: {error}") from None

    def predict(self, images: np.ndarray) -> Predictions:
        """Classifies images. Safe to call from several threads at a time.

        Args:
            images: uint8 array of shape (n, height, width, channels) with values 0..255, n >= 0.

        Returns:
            The model's answers, in the order of the images.

        Raises:
            ValueError: If the images have another type or shape.
            PredictionError: If the model fails on one of the images.
        """
        import tensorflow as tf

        wanted = f"images must be uint8 of shape (n, {', '.join(map(str, self.image_shape))})"
        try:
            images = np.asarray(images)
        except ValueError as error:  # As of rows of different lengths.
            raise InvalidValueError(f"{wanted}, got what makes no array: {error}") from None
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape or not images.ndim:
            raise InvalidValueError(f"{wanted}, got {images.dtype} of shape {images.shape}")
        if not len(images):
            nothing = np.zeros((0, self.num_classes), np.float32)
            return Predictions(np.zeros(0, np.int64), nothing, nothing)
        try:
            answer = self._serve(images=tf.constant(images))
        except tf.errors.OpError as error:
            raise PredictionError(reason_lines(error)[0]) from None
        return Predictions(
            answer["class"].numpy(), answer["probabilities"].numpy(), answer["logits"].numpy()
        )

    def _read_class_names(self) -> tuple[str, ...] | None:
        if not hasattr(self._loaded, "class_names"):
            return None
        try:
            names = tuple(name.decode() for name in self._loaded.class_names().numpy())
        except Exception as error:  # It may be any object of that name.
            raise ModelError(f"class_names() gives no names: {reason_lines(error)[0]}") from None
        if len(names) != self.num_classes:
            raise ModelError(f"has {len(names)} names for {self.num_classes} classes")
        return names


def _check_signature(serve) -> tuple[tuple[int, int, int], int]:
    """Returns the image shape and the number of classes of a signature.

    Raises:
        ModelError: If its inputs or outputs are others than those of `serving.export.save`.
    """
    takes = _describe(serve.structured_input_signature[1])
    returns = _describe(serve.structured_outputs)
    images, answers = _TAKES.fullmatch(takes), _RETURNS.search(returns)
    if not images:
        raise ModelError(
            f"{SIGNATURE!r} must take images: uint8 (None, height, width, 1 or 3), "
            f"but takes {takes}"
        )
    if not answers:
        raise ModelError(
            f"{SIGNATURE!r} must return class (n,), logits and probabilities (n, classes), "
            f"but returns {returns}"
        )
    if answers[1] == "None":
        raise ModelError(f"{SIGNATURE!r} does not say how many classes there are")
    height, width, channels = map(int, images.groups())
    return (height, width, channels), int(answers[1])


def _describe(tensors) -> str:
    described = (f"{name}: {x.dtype.name} {x.shape}" for name, x in sorted(tensors.items()))
    return ", ".join(described) or "nothing"
