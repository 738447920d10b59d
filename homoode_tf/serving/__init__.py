# SPDX-License-Identifier: Apache-2.0
"""Trained classifiers outside training.

`export` writes a SavedModel, which needs nothing of this package to run; `checksums` describes its
files, so that a damaged one is found out. `predict` asks it about arrays and image files, and
`convert` makes LiteRT and ONNX files of it; each is a command, too. Only `export` knows Keras.
"""

import importlib

from homoode_tf.serving.predict import (
    ImageError,
    ModelError,
    PredictionError,
    Predictions,
    ServedModel,
)

# What imports TensorFlow, and where it is; imported when it is asked for.
_LATER = {
    "save": "homoode_tf.serving.export",
    "Conversion": "homoode_tf.serving.convert",
    "ConversionError": "homoode_tf.serving.convert",
}

__all__ = [
    "ImageError",
    "ModelError",
    "PredictionError",
    "Predictions",
    "ServedModel",
    *_LATER,
]


def __getattr__(name: str):
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
