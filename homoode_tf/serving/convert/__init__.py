# SPDX-License-Identifier: Apache-2.0
"""Exported classifiers in formats that run without TensorFlow: LiteRT (TFLite) and ONNX.

`python -m homoode_tf.convert --saved_model DIR --format onnx --output FILE` is the command;
`convert(DIR, FILE, "onnx")` does the same. The file holds the whole model, preprocessing and solver
loop included, and is compared with the SavedModel before it is put in place.
"""

from homoode_tf.serving.convert.conversion import (
    FORMATS,
    Conversion,
    ConversionError,
    MissingPackageError,
    convert,
)

__all__ = ["FORMATS", "Conversion", "ConversionError", "MissingPackageError", "convert"]
