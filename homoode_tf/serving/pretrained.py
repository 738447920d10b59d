# SPDX-License-Identifier: Apache-2.0
"""The SavedModel of pretrained weights."""

import argparse
import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from homoode_tf import disk
from homoode_tf.checks import check_path
from homoode_tf.errors import InvalidValueError


def export(name: str, directory: str | os.PathLike) -> pathlib.Path:
    """Writes pretrained weights as a run's `saved_model/` is: a folder with the version `1/`.

    Args:
        name: One of `models.pretrained_names()`.
        directory: The folder; it must not be there yet, or be empty.

    Returns:
        The folder.

    Raises:
        InvalidValueError: If there are no such weights, or something is in the folder.
    """
    from homoode_tf import models
    from homoode_tf.serving.export import save

    folder = pathlib.Path(check_path("the folder of the export", directory))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidValueError(f"{folder} is not empty: give a new folder.")
    model, card = models.pretrained(name), models.pretrained_card(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as new:
        made = pathlib.Path(new) / "saved_model"
        made.mkdir()
        save(model, made / "1", card.image_shape, card.class_names)
        disk.replace_folder(made, folder)
    return folder


@contextlib.contextmanager
def saved_model(options: argparse.Namespace) -> Iterator[str]:
    """Within this context the SavedModel is there that a command's flags name.

    Args:
        options: What the parser of `terminal.parser` gave.
    """
    if options.pretrained is None:
        yield options.saved_model
        return
    with tempfile.TemporaryDirectory() as folder:
        yield str(export(options.pretrained, pathlib.Path(folder) / "saved_model"))
