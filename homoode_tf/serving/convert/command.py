# SPDX-License-Identifier: Apache-2.0
"""Converts an exported model to LiteRT or ONNX.

    python -m homoode_tf.convert --saved_model DIR --format {tflite,onnx} --output FILE

Needs neither the data set nor the config of the run. Ends with status 0 if the file was written, 1
if the model cannot be converted or the file's answers are not the SavedModel's, and 2 if nothing
could be tried: a wrong flag, no SavedModel of this project in DIR, or a package not installed.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from homoode_tf.serving.convert.conversion import (
    FORMATS,
    ConversionError,
    MissingPackageError,
    convert,
)
from homoode_tf.serving.predict import ModelError

_PROGRAM = "python -m homoode_tf.convert"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parse(arguments)
    # Notices about the machine and about each pass of a converter; what matters is reported here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for name, level in (("absl", "ERROR"), ("tensorflow", "ERROR"), ("tf2onnx", "CRITICAL")):
        logging.getLogger(name).setLevel(level)
    try:
        done = convert(options.saved_model, options.output, options.format, options.tolerance)
    except (ConversionError, ModelError, ValueError) as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        failed = isinstance(error, ConversionError) and not isinstance(error, MissingPackageError)
        return 1 if failed else 2
    print(
        f"{done.path}: {done.size / 1024:,.0f} KiB; largest difference from the SavedModel "
        f"{done.max_difference:.1e} on {done.num_images} images."
    )
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="Converts an exported model to LiteRT or ONNX."
    )
    parser.add_argument(
        "--saved_model", required=True, metavar="DIR", help="the exported model's folder"
    )
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument("--output", required=True, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        help="largest difference of a logit or probability from the SavedModel's (default: 1e-4)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
