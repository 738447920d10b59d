# SPDX-License-Identifier: Apache-2.0
"""The LiteRT (TFLite) format: TensorFlow's own converter, LiteRT's interpreter."""

import os
import pathlib
import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.graph_errors import reason_lines

PACKAGES = ("ai_edge_litert",)
EXTRA = "litert"
_WITHOUT_EQUIVALENT = re.compile(r"'tf\.(\w+)' op is neither")


def translate(saved_model: str | os.PathLike, key: str, quantize: str = "none") -> bytes:
    """Translates a signature of a SavedModel with LiteRT's builtin operations alone."""
    converter = tf.lite.TFLiteConverter.from_saved_model(
        os.fspath(saved_model), signature_keys=[key]
    )
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        return converter.convert()
    except Exception as error:  # The converter's own type is not public.
        if "bf16" in str(error):
            raise InvalidValueError(
                "it computes in bfloat16, for which LiteRT has no operations: export it in "
                "float32, as a run does with config.export_precision=float32"
            ) from None
        missing = sorted(set(_WITHOUT_EQUIVALENT.findall(str(error))))
        reason = f"LiteRT has no operation for {', '.join(missing)}"
        raise InvalidValueError(reason if missing else reason_lines(error)[0]) from None


def load(path: pathlib.Path, key: str, name: str) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function from the input of a name to outputs by name by the interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=os.fspath(path))
    runner = interpreter.get_signature_runner(key)
    return lambda batch: runner(**{name: batch})
