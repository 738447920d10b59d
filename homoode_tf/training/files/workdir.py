# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: what is in it, and whose it is."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from homoode_tf import regular_file
from homoode_tf.data.settings import is_image_data
from homoode_tf.errors import InvalidValueError, UserError
from homoode_tf.training.settings import TrainingSettings

_ABSENT = "absent"
# `tf.errors.OpError` has no `errno`, only the system's words for it.
_FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))


class WorkdirError(UserError, ValueError):
    """A workdir cannot be used, or does not belong to this run."""


class Workdir:
    """The one place that knows the paths of a run.

    Args:
        directory: The folder; `open` makes it.

    Attributes:
        config: `config.json`, the config that made the run.
        checkpoints: `checkpoints/`.
        metrics: `metrics.jsonl`.
        events: `events/`, for TensorBoard.
        saved_model: `saved_model/`.
        result: `result.json`, written last of all: it says that the run is complete.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = pathlib.Path(directory).expanduser()
        self.config = self.directory / "config.json"
        self.checkpoints = self.directory / "checkpoints"
        self.metrics = self.directory / "metrics.jsonl"
        self.events = self.directory / "events"
        self.saved_model = self.directory / "saved_model"
        self.result = self.directory / "result.json"

    def open(self, config: Mapping[str, Any]) -> None:
        """Makes the folder where it is missing, and checks that it is free or `config`'s.

        Args:
            config: The whole config.

        Raises:
            WorkdirError: If the folder cannot be written, or was made by another config.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            probe = self.directory / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise WorkdirError(
                f"workdir {self.directory} cannot be written: {error.strerror or error}."
            ) from error
        if self.config.exists():
            self.check(config)

    def claim(self, config: Mapping[str, Any]) -> None:
        """Writes `config.json`, which makes the folder this config's."""
        text = json.dumps(plain(config), indent=2, sort_keys=True)
        write_atomically(self.config, text + "\n")

    def check(self, config: Mapping[str, Any]) -> None:
        """Checks that the folder was made by `config`, without changing anything.

        Args:
            config: The whole config.

        Raises:
            WorkdirError: If there is no run, or one of another config; the message names each
                field that differs with both values.
        """
        # A field that was not there yet when the run began is as it was then: at its default.
        there = flatten(TrainingSettings.complete(self.read_config()))
        here = flatten(TrainingSettings.complete(plain(config)))
        differences = [
            f"{name} is {there.get(name, _ABSENT)} there and {here.get(name, _ABSENT)} here"
            for name in sorted({*there, *here})
            if there.get(name, _ABSENT) != here.get(name, _ABSENT)
        ]
        if differences:
            raise WorkdirError(
                f"workdir {self.directory} was made by another config: {'; '.join(differences)}. "
                "Give the config that made it, or another --workdir."
            )

    def read_config(self) -> dict[str, Any]:
        """Returns the config that made the run, as JSON holds it.

        Raises:
            WorkdirError: If there is no run, or its `config.json` is damaged.
        """
        if not self.config.exists():
            raise WorkdirError(f"workdir {self.directory} holds no run: {self.config} is missing.")
        return read_json(self.config)

    def read_result(self) -> dict[str, Any] | None:
        """Returns the result of a complete run, and None while there is none."""
        return read_json(self.result) if self.result.exists() else None

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Writes `result.json`, which makes the run complete."""
        write_atomically(self.result, json.dumps(result, indent=2) + "\n")

    @contextlib.contextmanager
    def explaining_a_full_disk(self) -> Iterator[None]:
        """Within this context a full disk is a `WorkdirError` that says what to do."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            words = next((words for words in _FULL if words in str(error)), None)
            if words is None:
                raise
            raise WorkdirError(
                f"workdir {self.directory} takes no more: {words}. Its checkpoints are kept; make "
                "room and give the same command again."
            ) from error

    def replace_saved_model(self, write: Callable[[pathlib.Path], None]) -> None:
        """Replaces `saved_model/` by what `write` makes at the path that it is given.

        The old one stays in place until the new one is whole.
        """
        new = self.directory / "saved_model.new"
        shutil.rmtree(new, ignore_errors=True)
        write(new)
        shutil.rmtree(self.saved_model, ignore_errors=True)
        new.rename(self.saved_model)


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a file so that at any moment either the old or the new one is there, whole."""
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns the fields of a nested config under dotted names, their values as JSON text."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = json.dumps(value)
    return flat


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Turns a config into what comes back from JSON, with descriptions of parts of one's own."""
    values = config.to_dict() if hasattr(config, "to_dict") else config
    return json.loads(json.dumps(values, default=_describe))


def _describe(value: Any) -> Any:
    """What stands in JSON for an object of the user's own."""
    return value.info.name if is_image_data(value) else keras.saving.serialize_keras_object(value)


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Returns the JSON object that a file of a run holds.

    Raises:
        WorkdirError: If it cannot be read, or holds something else.
    """
    try:
        return regular_file.read_json(path)
    except (OSError, InvalidValueError) as error:
        raise WorkdirError(f"{path} cannot be read: {error}.") from error
