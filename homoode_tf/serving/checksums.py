# SPDX-License-Identifier: Apache-2.0
"""Sizes and SHA-256 of files, by which one that is no longer what was written is found out.

TensorFlow notices a changed bit in a model's variables; one in its graph it may load.
"""

import contextlib
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from homoode_tf import regular_file
from homoode_tf.errors import InvalidValueError

# Where a SavedModel has room for the files of others.
_SUMS = pathlib.PurePath("assets.extra", "checksums.json")
# All files of a model of others together: more is not meant to be read to the end.
_LARGEST = 4 * 2**30


def describe(path: pathlib.Path, at_most: float = math.inf) -> dict[str, Any]:
    """Returns the size and the SHA-256 of a regular file of at most so many bytes."""
    left = size = regular_file.size(path, at_most)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(min(left, 2**20)):
            digest.update(piece)
            left -= len(piece)
    return {"bytes": size, "sha256": digest.hexdigest()}


def write(saved_model: str | os.PathLike) -> None:
    """Describes all files of a SavedModel in a file that is added to it."""
    folder = pathlib.Path(saved_model)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / _SUMS)
    sums = {path.relative_to(folder).as_posix(): describe(path) for path in files}
    (folder / _SUMS).parent.mkdir(exist_ok=True)
    (folder / _SUMS).write_text(json.dumps(sums, indent=2), encoding="utf-8")


def check(saved_model: str | os.PathLike) -> None:
    """Checks a SavedModel against what `write` described.

    Of one without a description only that its files are regular ones, whose reading ends.

    Raises:
        OSError: If a file is missing.
        InvalidValueError: If a file is not what was written, or the description itself is damaged.
    """
    folder = pathlib.Path(saved_model)
    for path in [*folder.glob("*"), *folder.glob("*/*")]:
        if not path.is_dir():
            with _naming(path.relative_to(folder)):
                regular_file.size(path, _LARGEST)
    if os.path.lexists(folder / _SUMS):
        with _naming(_SUMS):
            sums = regular_file.read_json(folder / _SUMS)
        verify(folder, sums, _LARGEST)


def verify(folder: pathlib.Path, sums: Mapping[str, Any], at_most: float = math.inf) -> None:
    """Checks files of a folder against what `describe` said of them, by name; as `check` does."""
    left = at_most
    for name, expected in sums.items():
        # Each file once, and none outside.
        if {"", ".", ".."} & set(name.split("/")):
            raise InvalidValueError(f"{name!r} is no name of a file in the folder")
        with _naming(name):
            found = describe(folder / name, left)
            left -= found["bytes"]
            if found != expected:
                raise InvalidValueError("not what was written")


@contextlib.contextmanager
def _naming(name: object) -> Iterator[None]:
    """Says of which file of the folder a message is."""
    try:
        yield
    except InvalidValueError as error:
        raise InvalidValueError(f"{name} is {error}") from None
