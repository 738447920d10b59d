# SPDX-License-Identifier: Apache-2.0
"""The fields of a comparison's config, checked before the first of its runs begins."""

import copy
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from homoode_tf import command_line
from homoode_tf.checks import check_integer, check_number
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.training.settings import TrainingSettings

_FIELDS = ("recipe", "models", "seeds", "parameter_tolerance")


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses what is no comparison.

    Args:
        config: Of `Experiment`.

    Raises:
        InvalidValueError: If a field is missing, unknown or not allowed; the message names it.
    """
    if set(config.keys()) != set(_FIELDS):
        raise InvalidValueError(
            f"A comparison's config has the fields {', '.join(_FIELDS)}; "
            f"got {', '.join(sorted(map(str, config.keys())))}."
        )
    if not _is_group(config.recipe):
        raise InvalidTypeError(f"config.recipe must be a recipe, got {config.recipe!r}.")
    if not config.models or not config.seeds:
        raise InvalidValueError("config.models and config.seeds must not be empty.")
    if not _is_group(config.models):
        raise InvalidTypeError(
            "config.models must have, for each name, the fields in which that model differs from "
            f"the recipe, got {config.models!r}."
        )
    for name, changes in config.models.items():
        # It is that of a folder, too.
        if not isinstance(name, str) or pathlib.PurePath(name).name != name or not name.strip():
            raise InvalidValueError(
                f"config.models must have names that a folder can have, got {name!r}."
            )
        _check_group(f"config.models.{name}", changes)
    _check_seeds(config.seeds)
    check_number("config.parameter_tolerance", config.parameter_tolerance, at_least=0)


def with_changes(
    recipe: ml_collections.ConfigDict, changes: Mapping[str, Any], name: str
) -> ml_collections.ConfigDict:
    """Returns the recipe with what a model changes of it.

    Raises:
        InvalidValueError: If the model changes what there is not, or the outcome is not allowed.
    """
    for path, value in _paths(changes):
        if unknown := command_line.find_unknown(recipe, path):
            # Not a flag's name: in a comparison that is another one.
            unknown = unknown.replace("--config.", "")
            raise InvalidValueError(f"config.models.{name} does not fit the recipe: {unknown}")
        if path == "seed":
            raise InvalidValueError(f"config.models.{name}.seed has no use: set config.seeds.")
        there: Any = recipe
        for part in path.split("."):
            there = there[part]
        if _is_group(there):
            _check_group(f"config.models.{name}.{path}", value)
    config = copy.deepcopy(recipe).lock()
    try:
        config.update(changes)
    except (KeyError, TypeError) as error:
        message = " ".join(str(error).split())
        raise InvalidValueError(
            f"config.models.{name} does not fit the recipe: {message}."
        ) from error
    try:
        TrainingSettings.from_config(config)
    except InvalidValueError as error:
        raise type(error)(f"model {name}: {error}") from None
    return config


def _check_seeds(seeds: Any) -> None:
    if not isinstance(seeds, Sequence) or isinstance(seeds, str):
        raise InvalidTypeError(f"config.seeds must be a tuple of integers, got {seeds!r}.")
    for number, seed in enumerate(seeds):
        check_integer(f"config.seeds[{number}]", seed, at_least=0)
        if seed in seeds[:number]:
            raise InvalidValueError(f"config.seeds must differ from each other, got {seed} twice.")


def _is_group(value: Any) -> bool:
    return hasattr(value, "keys")


def _check_group(name: str, value: Any) -> None:
    if not _is_group(value):
        raise InvalidTypeError(f"{name} must be a group of fields, got {value!r}.")


def _paths(changes: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted names of all changes, each with its value."""
    for name, value in changes.items():
        if _is_group(value) and value:
            yield from _paths(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
