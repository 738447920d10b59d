# SPDX-License-Identifier: Apache-2.0
"""Reads a SavedModel of this project or of others; imports TensorFlow when one is read."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from homoode_tf.checks import check_path
from homoode_tf.errors import UserError
from homoode_tf.graph_errors import reason_lines
from homoode_tf.serving import checksums

_FILES = ("saved_model.pb", "saved_model.pbtxt")


class ModelError(UserError, ValueError):
    """A folder that holds no SavedModel such as is wanted, or a damaged one; one line."""


def find(directory: str | os.PathLike) -> pathlib.Path:
    """Returns the SavedModel in a folder: its newest version, or the folder itself.

    Versions are folders with numbers for names, as TensorFlow Serving wants them.

    Raises:
        ModelError: If there is no such folder.
    """
    folder = pathlib.Path(check_path("saved_model", directory))
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder")
    if any(os.path.lexists(folder / name) for name in _FILES):
        return folder
    versions = [path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
    return max(versions, key=lambda path: int(path.name), default=folder)


def load(directory: str | os.PathLike, signatures: Sequence[str]) -> tuple[Any, Any]:
    """Loads a SavedModel that is whole.

    Args:
        directory: As of `find`.
        signatures: Names of signatures, of which the first that it has is wanted.

    Returns:
        What `tf.saved_model.load` returned, and the signature.

    Raises:
        ModelError: If there is none, if it is damaged, or has none of the signatures.
    """
    import tensorflow as tf

    folder = find(directory)
    try:
        checksums.check(folder)
        loaded = tf.saved_model.load(folder)
        found = {name: loaded.signatures[name] for name in signatures if name in loaded.signatures}
    except Exception as error:  # Damaged files bring about errors of any type.
        reason = reason_lines(error)[0]
        raise ModelError(f"{folder}: no readable SavedModel: {reason}") from None
    if not found:
        names = ", ".join(sorted(loaded.signatures)) or "none"
        wanted = " or ".join(map(repr, signatures))
        raise ModelError(f"{folder}: has no signature {wanted}; it has: {names}")
    return loaded, next(iter(found.values()))
