# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: what is in it, and whose it is."""

import contextlib
import dataclasses
import hashlib
import json
import numbers
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras

from homoode_tf import disk, regular_file
from homoode_tf.checks import check_path
from homoode_tf.data import DataInfo
from homoode_tf.data.settings import is_image_data
from homoode_tf.errors import InvalidValueError, UserError
from homoode_tf.graph_errors import reason
from homoode_tf.models.saved import FILE_NAME
from homoode_tf.training.files import checkpoints, ownership
from homoode_tf.training.settings import TrainingSettings

_ABSENT = "absent"
# The field of a JSON file that holds the SHA-256 of the others.
_SUM = "sha256"
_DATA_FIELDS = [field.name for field in dataclasses.fields(DataInfo)]
# The one of `config.json` with the epochs that the run had before they were raised.
_BEFORE = "epochs_before"
# The one of `result.json` with the digest of the config that made it.
_MADE_BY = "config"
# So much of the differences between two configs is told.
_MOST_DIFFERENCES, _LONGEST_VALUE = 6, 80
# What a folder's name holds of the changes to a recipe; more is told by a digest.
_READABLE = re.compile(r"[\w.=+-]{1,60}")


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
        saved_model: `saved_model/`, whose only version is `1/`.
        model: `model.keras`.
        data: `data.json`, what the run knows of its images: class names, mean, deviation, ...
        result: `result.json`, written last of all: it says that the run is complete.

    Raises:
        InvalidValueError: If TensorFlow would take the path for another.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = pathlib.Path(check_path("workdir", directory))
        self.config = self.directory / "config.json"
        self.checkpoints = self.directory / "checkpoints"
        self.metrics = self.directory / "metrics.jsonl"
        self.events = self.directory / "events"
        self.saved_model = self.directory / "saved_model"
        self.data = self.directory / "data.json"
        self.model = self.directory / FILE_NAME
        self.result = self.directory / "result.json"

    def open(self, config: Mapping[str, Any]) -> None:
        """Makes the folder where it is missing, and checks that it is free or `config`'s.

        Args:
            config: The whole config; it may ask for more epochs than the run had.

        Raises:
            WorkdirError: If the folder cannot be written, was made by another config, or holds
                what no run has made but would write over.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.directory):
                pass
        except OSError as error:
            raise WorkdirError(
                f"workdir {self.directory} cannot be written: {disk.remedy(error)}."
            ) from error
        if self.config.exists():
            self.check({**plain(config), **self._epochs()} if self.is_longer(config) else config)
            return
        if strangers := ownership.strangers(self.directory):
            raise WorkdirError(
                f"workdir {self.directory} holds {', '.join(strangers)}, which a run would write "
                "over, and neither a config.json nor a checkpoint that would tell whose they are. "
                "Move them away, or give another --workdir."
            )
        self._check_kinds()

    def _check_kinds(self) -> None:
        if wrong := ownership.wrong_kinds(self.directory):
            raise WorkdirError(
                f"in workdir {self.directory} {', '.join(wrong)}, which a run cannot write. Move "
                "that away and give the same command again."
            )

    def claim(self, config: Mapping[str, Any]) -> None:
        """Writes `config.json`, which makes the folder this config's.

        The result of a run of fewer epochs is set aside as `result-epochs=N.json`.
        """
        before = self._epochs_before()
        if self.is_longer(config):
            (epochs,) = self._epochs().values()
            if self.result.exists():
                self.result.rename(self.directory / f"result-epochs={epochs:g}.json")
            before = [*before, epochs]
        _write_json(self.config, {**plain(config), **({_BEFORE: before} if before else {})})

    def is_longer(self, config: Mapping[str, Any]) -> bool:
        """Returns whether a config asks for more epochs than the one that made the run."""
        there = self._epochs() if self.config.exists() else {}
        here = TrainingSettings.complete(config)
        # Anything may stand in somebody else's `config.json`.
        return any(
            isinstance(value, numbers.Real) and here[name] > value for name, value in there.items()
        )

    def origins(self, config: Mapping[str, Any]) -> list[str]:
        """Returns the digests of the configs that may have made the checkpoints, its own first."""
        there = [*self._epochs_before(), *self._epochs().values()] if self.config.exists() else []
        earlier = [digest({**plain(config), "epochs": epochs}) for epochs in there]
        return list(dict.fromkeys([digest(config), *earlier]))

    def _epochs(self) -> dict[str, float]:
        return {"epochs": TrainingSettings.complete(self.read_config())["epochs"]}

    def _epochs_before(self) -> list[float]:
        return self._read_config().get(_BEFORE, []) if self.config.exists() else []

    def clean(self) -> None:
        """Removes what killed processes left; only for who holds the folder's lock."""
        disk.recover_folder(self.saved_model)
        unfinished = [self.directory / name for name in ownership.UNFINISHED]
        for leftover in (*unfinished, *self.directory.glob(".writable-*")):
            disk.remove(leftover)

    def check(self, config: Mapping[str, Any]) -> None:
        """Checks that the folder was made by `config`, without changing anything.

        Args:
            config: The whole config.

        Raises:
            WorkdirError: If there is no run, or one of another config; the message names the first
                fields that differ with both values.
        """
        # A field that was not there yet when the run began is as it was then: at its default.
        there = flatten(TrainingSettings.complete(self.read_config()))
        here = flatten(TrainingSettings.complete(plain(config)))
        there, here = (_with_absent(fields, {*there, *here}) for fields in (there, here))
        names = sorted(name for name in there if there[name] != here[name])
        told = [
            f"{name} is {_short(there[name])} there and {_short(here[name])} here"
            for name in names[:_MOST_DIFFERENCES]
        ]
        if left := len(names) - len(told):
            told.append(f"and {left} more fields of {len(there)} differ")
        if names:
            raise WorkdirError(
                f"workdir {self.directory} was made by another config: {'; '.join(told)}. "
                "Give the config that made it, or another --workdir."
            )
        self._check_kinds()

    def read_config(self) -> dict[str, Any]:
        """Returns the config that made the run, as JSON holds it.

        Raises:
            WorkdirError: If there is no run, or its `config.json` is damaged.
        """
        config = self._read_config()
        config.pop(_BEFORE, None)
        return config

    def _read_config(self) -> dict[str, Any]:
        if not self.config.exists():
            raise WorkdirError(f"workdir {self.directory} holds no run: {self.config} is missing.")
        return read_json(
            self.config,
            "Put it back; or remove it and train with the config that made it, which the "
            "checkpoints know.",
        )

    def write_data(self, info: Any) -> None:
        """Writes `data.json` of a data set's `info`, a `DataInfo` or the like."""
        _write_json(self.data, {name: getattr(info, name, "") for name in _DATA_FIELDS})

    def read_data(self) -> DataInfo | None:
        """Returns what the run knows of its images; None where it has not begun, or is an old one.

        Raises:
            WorkdirError: If `data.json` is damaged.
        """
        if not self.data.exists():
            return None
        advice = "Remove it: it is written anew from the images."
        values = read_json(self.data, advice)
        fields: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        try:
            return DataInfo(**fields)
        except TypeError as error:
            raise WorkdirError(f"{self.data} cannot be read: {error}. {advice}") from error

    def read_result(self, config: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Returns the result of a complete run, and None while there is none.

        Args:
            config: The config whose result it must be; None for any.

        Raises:
            WorkdirError: If `result.json` is damaged, or another config's.
        """
        if not self.result.exists():
            return None
        values = read_json(
            self.result,
            "Remove it and give the training command again: it is written anew from the "
            "checkpoints.",
        )
        made_by = values.pop(_MADE_BY, None)
        if config is not None and not self._is_result_of(config, made_by):
            missing = "" if self.config.exists() else " It may have had the missing config.json."
            raise WorkdirError(
                f"{self.result} was made by another config, or by none that is known.{missing} "
                "Give the config that made it, or another --workdir."
            )
        return values

    def _is_result_of(self, config: Mapping[str, Any], made_by: str | None) -> bool:
        own, *earlier = self.origins(config)
        told = checkpoints.made_by(self.checkpoints) - {None}
        # A result of an earlier version does not tell: its checkpoints, or else `config.json`, do.
        if made_by is None and not told and not self.config.exists():
            return False
        return made_by in (None, own) and told <= {own, *earlier}

    def write_result(self, result: Mapping[str, Any], made_by: str) -> None:
        """Writes `result.json`, which makes the run complete; `made_by` is its config's digest."""
        _write_json(self.result, {**result, _MADE_BY: made_by})

    @contextlib.contextmanager
    def explaining_a_full_disk(self) -> Iterator[None]:
        """Within this context a full disk is a `WorkdirError` that says what to do."""
        try:
            yield
        except UserError:  # It has said so.
            raise
        except Exception as error:  # Libraries that write have errors of their own.
            if not disk.is_full(error):
                raise
            raise WorkdirError(
                f"workdir {self.directory} takes no more: {disk.remedy(error, reason(error))}. Its "
                "checkpoints are kept; the same command goes on."
            ) from error

    def replace_saved_model(self, write: Callable[[pathlib.Path], None]) -> None:
        """Replaces `saved_model/` by what `write` makes at the path that it is given.

        The old one stays in place until the new one is whole and on the disk.
        """
        disk.remove(self._new_saved_model)
        write(self._new_saved_model)
        disk.replace_folder(self._new_saved_model, self.saved_model)

    def replace_model(self, write: Callable[[pathlib.Path], None]) -> None:
        """Replaces `model.keras` in the same way."""
        disk.remove(self._new_model)
        write(self._new_model)
        disk.replace_file(self._new_model, self.model)

    @property
    def _new_saved_model(self) -> pathlib.Path:
        return self.directory / "saved_model.new"

    @property
    def _new_model(self) -> pathlib.Path:
        return self.directory / "new.keras"


def default_name(recipe: str, changes: Mapping[str, Any]) -> str:
    """Returns the name of the folder of a run for which no other was given.

    Args:
        recipe: Name of the recipe.
        changes: Its fields with other values than its own, under dotted names.

    Example:
        >>> default_name("cifar10", {"epochs": 3.0, "model.rtol": 0.01})
        'cifar10-epochs=3-model.rtol=0.01'
        >>> default_name("cifar10", {"init_from": "runs/mnist"})
        'cifar10-4329d2dc'
    """
    told = "-".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sorted(changes.items())
    )
    if told and not _READABLE.fullmatch(told):
        told = hashlib.sha256(os.fsencode(told)).hexdigest()[:8]
    return f"{recipe}-{told}" if told else recipe


def digest(config: Mapping[str, Any]) -> str:
    """Returns what tells a config from others: the SHA-256 of the fields not at their defaults."""
    return _sum_of(not_at_defaults(config))


def not_at_defaults(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns these fields of a config under dotted names, their values as JSON text."""
    defaults = flatten(plain(TrainingSettings.complete({})))
    fields = flatten(TrainingSettings.complete(plain(config)))
    return {name: text for name, text in fields.items() if defaults.get(name) != text}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns the fields of a nested config under dotted names, their values as JSON text."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = json.dumps(value)
    return flat


def _with_absent(fields: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: fields.get(name, _ABSENT) for name in names}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Turns a config into what comes back from JSON, with descriptions of parts of one's own."""
    return json.loads(as_json(config.to_dict() if hasattr(config, "to_dict") else config))


def as_json(value: Any) -> str:
    """Returns a value of a config as JSON text, an object as what makes it again."""
    return json.dumps(value, default=_describe)


def _describe(value: Any) -> Any:
    """What stands in JSON for an object of the user's own."""
    return value.info.name if is_image_data(value) else keras.saving.serialize_keras_object(value)


def read_json(path: pathlib.Path, advice: str = "Remove it.") -> dict[str, Any]:
    """Returns the JSON object that a file of a run holds.

    Raises:
        WorkdirError: If it cannot be read, or holds what was not written; with an advice.
    """
    try:
        values = regular_file.read_json(path)
        # Absent where an earlier version has written it.
        given = values.pop(_SUM, None)
        if given not in (None, _sum_of(values)):
            raise InvalidValueError("it is not what was written")
    except (OSError, InvalidValueError) as error:
        raise WorkdirError(f"{path} cannot be read: {error}. {advice}") from error
    return values


def _write_json(path: pathlib.Path, values: Mapping[str, Any]) -> None:
    # What JSON does not know would be no JSON for others.
    text = json.dumps({**values, _SUM: _sum_of(values)}, indent=2, allow_nan=False)
    disk.write_atomically(path, text + "\n")


def _sum_of(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
