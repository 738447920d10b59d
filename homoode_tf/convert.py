# SPDX-License-Identifier: Apache-2.0
"""Converts an exported model: the short name of `homoode_tf.serving.convert`."""

import sys

from homoode_tf.serving.convert import (
    FORMATS,
    Conversion,
    ConversionError,
    MissingPackageError,
    convert,
)

__all__ = ["FORMATS", "Conversion", "ConversionError", "MissingPackageError", "convert"]

if __name__ == "__main__":
    from homoode_tf.serving.convert.command import main

    sys.exit(main())
