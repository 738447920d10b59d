# SPDX-License-Identifier: Apache-2.0
"""Files and folders that take their place whole, and survive a power cut."""

import contextlib
import ctypes
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator

_ROOM = "make room and try again"
# `tf.errors.OpError` has no `errno`, only the system's words for it.
_FULL = {
    os.strerror(errno.ENOSPC): _ROOM,
    os.strerror(errno.EDQUOT): _ROOM,
    os.strerror(errno.EFBIG): "raise the limit on the size of a file (`ulimit -f`) and try again",
}
# Of Linux's renameat2: relative to the working directory, and both names change places.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def is_full(error: Exception) -> bool:
    """Returns whether an error, of whatever library, is that of a disk or a file that is full."""
    return any(words in str(error) for words in _FULL)


def remedy(error: Exception, text: str = "") -> str:
    """Returns what an error of the disk says, and what to do where the disk or a file is full.

    Args:
        error: Of Python or of TensorFlow.
        text: What it says, where that is not the system's words.

    Example:
        >>> remedy(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        'No space left on device: make room and try again'
    """
    text = text or getattr(error, "strerror", None) or str(error)
    advice = next((advice for words, advice in _FULL.items() if words in str(error)), "")
    # Said once, where an error is told by a second one.
    return f"{text}: {advice}" if advice not in text else text


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives the path of a file to write, which takes the place of `path` when the context ends.

    At any moment either the old or the new one is there, whole; an error leaves the old one.
    """
    new = path.with_name(path.name + ".new")
    try:
        yield new
        replace_file(new, path)
    except BaseException:
        remove(new)
        raise


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a file so that at any moment either the old or the new one is there, whole."""
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


def replace_file(new: pathlib.Path, path: pathlib.Path) -> None:
    """Puts the file `new`, forced to the disk first, in the place of `path`."""
    sync(new)
    os.replace(new, path)
    sync(path.parent)


def replace_folder(new: pathlib.Path, folder: pathlib.Path) -> None:
    """Puts `new`, forced to the disk first, in the place of `folder`, which may be missing.

    A link in that place is replaced; what it leads to stays as it is.
    Where the system can exchange two names, whoever looks finds the old one or the new one, whole.
    Elsewhere a process killed in between leaves the old one as `FOLDER.old`; see `recover_folder`.
    """
    for path in (*new.rglob("*"), new):
        sync(path)
    old = _aside(folder)
    if not os.path.lexists(folder):
        new.rename(folder)
    elif _exchange(new, folder):
        old = new
    else:
        folder.rename(old)
        new.rename(folder)
    sync(folder.parent)
    remove(old)


def recover_folder(folder: pathlib.Path) -> None:
    """Puts back, or removes, what a `replace_folder` left that was killed."""
    old = _aside(folder)
    if os.path.lexists(old) and not os.path.lexists(folder):
        old.rename(folder)
    remove(old)


def remove_folder(folder: pathlib.Path, name: str) -> None:
    """Removes a folder, which first gets the given name: it is never there by half."""
    aside = folder.with_name(name)
    folder.rename(aside)
    remove(aside)


def remove(path: pathlib.Path) -> None:
    """Removes what is at a path: a folder, a file, a link but not what it leads to, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync(path: pathlib.Path) -> None:
    """Makes sure that a file or a folder survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _aside(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(folder.name + ".old")


def _exchange(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Lets two paths change places; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
