# SPDX-License-Identifier: Apache-2.0
"""One run at a time in a folder."""

import contextlib
import errno
import os
import pathlib
import socket
import sys
import time
from collections.abc import Iterator

import filelock
from absl import logging

from homoode_tf import regular_file
from homoode_tf.errors import UserError

_LOCK = ".lock"
# Beside the lock, because asking for a lock may empty its file. A killed process leaves it.
HOLDER = ".lock-holder"
# The command of a comparison's member holds its whole config.
_LONGEST_HOLDER = 250
_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class LockedError(UserError, RuntimeError):
    """Another process works in the folder."""


@contextlib.contextmanager
def exclusive(directory: pathlib.Path) -> Iterator[None]:
    """Within this context no other process gets the folder's lock.

    The operating system gives the lock back when the process ends, however it ends. Where the file
    system has no locks, either a file takes their place, which a process that dies on another host
    leaves behind, or a warning says so and nothing is locked.

    Args:
        directory: An existing folder that can be written.

    Raises:
        LockedError: If another process holds the lock; the message names it, and the way out.
        OSError: If the lock's file cannot be written.

    Example:
        >>> with exclusive(pathlib.Path(".")):
        ...     print("no other process trains here")
        no other process trains here
    """
    lock = filelock.FileLock(directory / _LOCK, timeout=0)
    holder = directory / HOLDER
    try:
        lock.acquire()
    except filelock.Timeout as error:
        marker, advice = directory / _LOCK, ""
        # The system's own lock is an empty file; where it has none, filelock writes one that stays.
        if marker.exists() and marker.stat().st_size:
            advice = f" This file system has no locks: if that process has died, remove {marker}."
        raise LockedError(
            f"{directory} is in use by {_read(holder)}. Wait for it or stop it, or give another "
            f"--workdir.{advice}"
        ) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _UNSUPPORTED:
            raise
        logging.warning(
            "%s cannot be locked (%s): let no second run use it meanwhile.", directory, error
        )
        yield
        return
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        command = " ".join(sys.argv)
        text = f"process {os.getpid()} on {socket.gethostname()} since {since} ({command})"
        # Arguments may be bytes that are no UTF-8.
        holder.write_text(text, encoding="utf-8", errors="backslashreplace")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _read(holder: pathlib.Path) -> str:
    try:
        text = regular_file.read(holder, 2**16).decode("utf-8")
    except (OSError, ValueError):
        text = ""
    # It has just begun, or ended, or cannot be read: it holds the lock all the same.
    if not text.startswith("process "):
        return "another process"
    return text if len(text) <= _LONGEST_HOLDER else f"{text[:_LONGEST_HOLDER]} ...)"
