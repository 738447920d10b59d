# SPDX-License-Identifier: Apache-2.0
"""Asks an exported classifier about image files; needs no model code, only TensorFlow and Pillow.

`python -m homoode_tf.predict --saved_model DIR image.png folder/` is the command;
`ServedModel(DIR).predict(images)` is the same question to arrays, from any number of threads.
"""

from homoode_tf.serving.predict.images import ImageError, find, read
from homoode_tf.serving.predict.served_model import (
    ModelError,
    PredictionError,
    Predictions,
    ServedModel,
)

__all__ = [
    "ImageError",
    "ModelError",
    "PredictionError",
    "Predictions",
    "ServedModel",
    "find",
    "read",
]
