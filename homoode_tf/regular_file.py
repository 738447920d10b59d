# SPDX-License-Identifier: Apache-2.0
"""Reads files that others may have written: regular ones, up to a size, so that reading ends."""

import json
import os
import stat
from typing import Any

from homoode_tf.errors import InvalidValueError

# Far above what this project writes.
_LARGEST_JSON = 16 * 2**20


def size(path: str | os.PathLike, at_most: float) -> int:
    """Returns the size of a file in bytes.

    Raises:
        OSError: If there is none, or it cannot be looked at.
        InvalidValueError: If it is no regular file but, as a pipe or a device, one that may never
            end, or has more bytes than `at_most`. The message does not name the path.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise InvalidValueError("not a regular file")
    if status.st_size > at_most:
        raise InvalidValueError(f"too large: {status.st_size:,} bytes, at most {at_most:,}")
    return status.st_size


def read(path: str | os.PathLike, at_most: float) -> bytes:
    """Returns the content of a file of at most so many bytes; raises what `size` does.

    Example:
        >>> with open("answer", "w") as file:
        ...     _ = file.write("42")
        >>> read("answer", at_most=2)
        b'42'
    """
    # What is appended meanwhile is not read: /proc has files of size 0 that do not end.
    number = size(path, at_most)
    with open(path, "rb") as file:
        return file.read(number)


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Returns the JSON object in a file of at most 16 MiB.

    Raises:
        OSError: As `size` does.
        InvalidValueError: As `size` does, or if the file holds no JSON object.
    """
    try:
        values = json.loads(read(path, _LARGEST_JSON).decode("utf-8"))
    except RecursionError:
        raise InvalidValueError("no JSON: it is nested too deeply") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidValueError(f"no JSON: {error}") from None
    if not isinstance(values, dict):
        raise InvalidValueError("no JSON object")
    return values
