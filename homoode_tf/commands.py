# SPDX-License-Identifier: Apache-2.0
"""The commands by their names on the console; each is imported when it is called."""

import importlib
import pathlib
import sys

from homoode_tf import extras


def _start(module: str, name: str = "main") -> None:
    try:
        with extras.explaining():
            status = getattr(importlib.import_module(module), name)()
    except extras.MissingExtraError as error:
        print(f"{pathlib.Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def train() -> None:
    """Trains, evaluates or exports a classifier."""
    _start("homoode_tf.train", "start")


def compare() -> None:
    """Trains models side by side, or compares finished runs."""
    _start("homoode_tf.report.compare.command", "start")


def plot() -> None:
    """Draws the figures of a run."""
    _start("homoode_tf.report.plot.command")


def predict() -> None:
    """Classifies image files."""
    _start("homoode_tf.serving.predict.command")


def weights() -> None:
    """Lists, evaluates or exports the weights that ship with the package."""
    _start("homoode_tf.report.weights.command")


def convert() -> None:
    """Converts an exported model to LiteRT or ONNX."""
    _start("homoode_tf.serving.convert.command")
