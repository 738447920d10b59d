# SPDX-License-Identifier: Apache-2.0
"""Whether what lies in a folder is a run's, or is somebody else's and would be lost."""

import os
import pathlib

from homoode_tf.training.files import checkpoints
from homoode_tf.training.files.lock import HOLDER

_FILES = ("config.json", "data.json", "result.json", "metrics.jsonl", "model.keras")
_FOLDERS = ("checkpoints", "events", "events/train", "events/validation", "saved_model")
# On the way to their place, or out of it.
UNFINISHED = (
    *(f"{name}.new" for name in (*_FILES, "failure.json", "saved_model")),
    "new.keras",
    "saved_model.old",
)
# What a run has written when it is killed before its `config.json` is there.
_FIRST = ("config.json.new", "data.json", "data.json.new")


def strangers(directory: pathlib.Path) -> list[str]:
    """Returns what has the name of something of a run in a folder that no run is known to own.

    A run owns a folder with a `config.json`, or with a checkpoint that can be read. One that was
    killed before had the lock, and left its holder. Empty folders are nobody's.
    """
    if (directory / "config.json").exists() or checkpoints.made_by(directory / "checkpoints"):
        return []
    left = _FIRST if (directory / HOLDER).exists() else ()
    names = (*_FILES, *_FOLDERS, *UNFINISHED)
    found = [name for name in names if name not in left and "/" not in name]
    return [name for name in found if _is_something(directory / name)]


def wrong_kinds(directory: pathlib.Path) -> list[str]:
    """Returns what is a folder in the place of a run's file, or no folder in that of its folder."""
    no_files = [name for name in _FILES if (directory / name).is_dir()]
    no_folders = [
        name
        for name in _FOLDERS
        if os.path.lexists(directory / name) and not (directory / name).is_dir()
    ]
    return [f"{name} is a folder" for name in no_files] + [
        f"{name} is no folder" for name in no_folders
    ]


def _is_something(path: pathlib.Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else os.path.lexists(path)
