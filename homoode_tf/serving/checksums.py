# SPDX-License-Identifier: Apache-2.0
"""Sizes and SHA-256 of files, by which one that is no longer what was written is found out.

TensorFlow notices a changed bit in a model's variables; one in its graph it may load.
"""

import hashlib
import json
import os
import pathlib

from homoode_tf.errors import InvalidValueError

# Where a SavedModel has room for the files of others.
_SUMS = pathlib.PurePath("assets.extra", "checksums.json")


def describe(path: pathlib.Path) -> dict[str, int | str]:
    """Returns the size and the SHA-256 of a file."""
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write(saved_model: str | os.PathLike) -> None:
    """Describes all files of a SavedModel in a file that is added to it."""
    folder = pathlib.Path(saved_model)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / _SUMS)
    sums = {path.relative_to(folder).as_posix(): describe(path) for path in files}
    (folder / _SUMS).parent.mkdir(exist_ok=True)
    (folder / _SUMS).write_text(json.dumps(sums, indent=2), encoding="utf-8")


def check(saved_model: str | os.PathLike) -> None:
    """Checks a SavedModel against what `write` described; one without it is not checked.

    Raises:
        OSError: If a file is missing.
        InvalidValueError: If a file is not what was written, or the description itself is damaged.
    """
    folder = pathlib.Path(saved_model)
    if not (folder / _SUMS).is_file():
        return
    sums = json.loads((folder / _SUMS).read_text(encoding="utf-8"))
    if not isinstance(sums, dict):
        raise InvalidValueError(f"{_SUMS} is not what was written")
    for name, expected in sums.items():
        if describe(folder / name) != expected:
            raise InvalidValueError(f"{name} is not what was written")
