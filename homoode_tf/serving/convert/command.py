# SPDX-License-Identifier: Apache-2.0
"""Converts an exported model to LiteRT or ONNX.

    python -m homoode_tf.convert --saved_model DIR --format {tflite,onnx} --output FILE
        [--quantize {float16,dynamic_range}]

Needs neither the data set nor the config of the run. Ends with status 0 if the file was written, 1
if the model cannot be converted or the file's answers are not the SavedModel's, and 2 if nothing
could be tried: a wrong flag, no SavedModel in DIR that can be converted, or a package not
installed.
"""

from collections.abc import Sequence

from homoode_tf import empty_flags
from homoode_tf.serving import pretrained, terminal
from homoode_tf.serving.convert.conversion import FORMATS, QUANTIZATIONS, convert

_MODULE = "homoode_tf.convert"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = terminal.parser(_MODULE, "Converts an exported model to LiteRT or ONNX.")
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    parser.add_argument("--output", required=True, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest difference of a number from the SavedModel's (default: 1e-4; 0.03 with "
        "float16, 0.3 with dynamic_range)",
    )
    parser.add_argument(
        "--quantize",
        default="none",
        choices=QUANTIZATIONS,
        help="how a tflite file stores weights (default: %(default)s)",
    )
    options = empty_flags.parse(parser, arguments)

    def command() -> int:
        names = ("output", "format", "tolerance", "quantize")
        with pretrained.saved_model(options) as directory:
            done = convert(directory, *(getattr(options, name) for name in names))
        print(
            f"{done.path}: {done.size / 1024:,.0f} KiB; largest difference from the SavedModel "
            f"{done.max_difference:.1e} on {done.num_images} images."
        )
        return 0

    return terminal.run(_MODULE, command)
