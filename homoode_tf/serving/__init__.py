# SPDX-License-Identifier: Apache-2.0
"""Trained classifiers outside training.

`export` writes a SavedModel, which needs nothing of this package to run; `checksums` describes its
files, so that a damaged one is found out. `predict` asks it about arrays and image files, and
`convert` makes LiteRT and ONNX files of it; each is a command, too. Only `export` and
`pretrained`, which exports the weights that ship, know Keras.
"""

import importlib

from homoode_tf.serving import predict
from homoode_tf.serving.predict import *  # noqa: F403

# What needs TensorFlow, and where it is; imported when it is asked for.
_LATER = {"save": "export", "Conversion": "convert", "ConversionError": "convert"}

__all__ = [*predict.__all__, *_LATER]


def __getattr__(name: str):
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
