# SPDX-License-Identifier: Apache-2.0
"""The signature of a SavedModel that is converted: one tensor in, any number out."""

import os
import re

import numpy as np

from homoode_tf.graph_errors import reason_lines
from homoode_tf.serving import saved_model
from homoode_tf.serving.predict import PredictionError
from homoode_tf.serving.saved_model import ModelError

# That of `serving.export` and of Keras's `model.export`, and TensorFlow's own.
_KEYS = ("serve", "serving_default")
# One after another: the same file must take batches that grow and shrink.
_BATCH_SIZES = (3, 7, 1)
_DTYPE = re.compile(r"uint8|b?float\d+")


class Signature:
    """What a SavedModel answers to a batch.

    Args:
        directory: As of `saved_model.find`.

    Attributes:
        folder: The SavedModel's own folder.
        key: The signature's name.
        input_name: Its input's.

    Raises:
        ModelError: If there is no SavedModel, or its signature does not take one float or uint8
            tensor of known sizes, the first excepted, or returns what is no number.
    """

    def __init__(self, directory: str | os.PathLike):
        self.folder = saved_model.find(directory)
        # Kept as a whole: the signature alone does not keep the variables alive.
        self._loaded, self._serve = saved_model.load(self.folder, _KEYS)
        self.key = next(key for key in _KEYS if key in self._loaded.signatures)
        takes, returns = self._serve.structured_input_signature[1], self._serve.structured_outputs
        specs = [*takes.values()]
        if len(specs) != 1 or not _DTYPE.fullmatch(specs[0].dtype.name):
            raise ModelError(
                f"{directory}: {self.key!r} must take one float or uint8 tensor, but takes "
                f"{', '.join(f'{name}: {x.dtype.name}' for name, x in takes.items()) or 'nothing'}"
            )
        ((self.input_name, spec),) = takes.items()
        if spec.shape.rank is None or not spec.shape[1:].is_fully_defined():
            raise ModelError(
                f"{directory}: the sizes of {self.input_name!r} must be known, but for the first, "
                f"and are {spec.shape}: export the model with an input of a fixed size"
            )
        for name, x in returns.items():
            if not (x.dtype.is_floating or x.dtype.is_integer or x.dtype.is_bool):
                raise ModelError(f"{directory}: {self.key!r} returns {name}: {x.dtype.name}")
        self._dtype = spec.dtype.as_numpy_dtype
        self._size, *self._sizes = spec.shape.as_list() or [1]

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the outputs by name; raises PredictionError where the model fails."""
        import tensorflow as tf

        try:
            answer = self._serve(**{self.input_name: tf.constant(batch)})
        except tf.errors.OpError as error:
            raise PredictionError(reason_lines(error)[0]) from None
        return {name: value.numpy() for name, value in answer.items()}

    def batches(self) -> list[np.ndarray]:
        """Returns inputs that ask different things of a solver: noise of different contrast, plain.

        Images of 0..255, or numbers of 0..1 where the model takes floats.
        """
        counts = (self._size,) * len(_BATCH_SIZES) if self._size else _BATCH_SIZES
        random, total = np.random.default_rng(0), sum(counts)
        noise = random.integers(0, 256, (total, *self._sizes))
        contrast = np.arange(1, total + 1).reshape(-1, *[1] * len(self._sizes))
        images = noise // contrast
        if total > 7:
            images[1], images[3], images[5] = 0, 255, 128
            images[7, ::2], images[7, 1::2] = 0, 255
        scale = 1 if self._dtype == np.uint8 else 255
        return np.split((images / scale).astype(self._dtype), np.cumsum(counts)[:-1])
