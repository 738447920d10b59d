# SPDX-License-Identifier: Apache-2.0
"""Asks an exported model by a Python expression, as a program that uses it would.

    python -m scripts.malformed_inputs.ask DIR 'model.predict(np.zeros((2, 8, 8, 1), np.uint8))'
    python -m scripts.malformed_inputs.ask --raw DIR 'serve(images=tf.zeros((2, 8, 8, 1)))'

In the expression `model` is the `homoode_tf.predict.ServedModel`, or with `--raw` `serve` the bare
signature that `tf.saved_model.load` gives. Prints the answer. What the model says it refuses is
one line and status 1; any other error is a traceback.
"""

import argparse
import os
import sys
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from homoode_tf.graph_errors import reason_lines
from homoode_tf.serving.predict import PredictionError, ServedModel

_PROGRAM = "python -m scripts.malformed_inputs.ask"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog=_PROGRAM)
    parser.add_argument("saved_model", metavar="DIR")
    parser.add_argument("expression")
    parser.add_argument("--raw", action="store_true", help="the signature, without ServedModel")
    options = parser.parse_args(arguments)
    names = {"np": np, "tf": tf}
    if options.raw:
        loaded = tf.saved_model.load(options.saved_model)
        names["serve"] = loaded.signatures["serve"]
        # What TensorFlow's own function says of arguments that are not its own.
        refusals = (TypeError, ValueError, tf.errors.OpError)
    else:
        names["model"] = ServedModel(options.saved_model)
        refusals = (ValueError, PredictionError)
    try:
        print(eval(options.expression, names))
    except refusals as error:
        print(f"{_PROGRAM}: {' '.join(reason_lines(error))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
