# SPDX-License-Identifier: Apache-2.0
"""The name by which a command was called, for its usage and its messages."""

import pathlib
import sys


def name(module: str) -> str:
    """Returns the console command's name, or `python -m MODULE` where it was not called so.

    Example:
        >>> name("homoode_tf.predict")
        'python -m homoode_tf.predict'
    """
    # On Windows it ends in .exe.
    called = pathlib.PurePath(sys.argv[0]).name.removesuffix(".exe") if sys.argv else ""
    return called if called.startswith("homoode-") else f"python -m {module}"
