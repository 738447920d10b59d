# SPDX-License-Identifier: Apache-2.0
"""Groups of settings, each field declared once: type, default, bounds and meaning in one place.

A group is a frozen dataclass whose fields `setting` makes; from the declarations come the checks
and their messages, the config of all defaults, the `--help` and the table in the docs. A config is
parsed once, by `from_config`, and handed on as such an object.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

from homoode_tf import checks
from homoode_tf.errors import InvalidTypeError, InvalidValueError

REQUIRED = dataclasses.MISSING
AnySettings = TypeVar("AnySettings", bound="Settings")


class MissingFieldError(InvalidValueError):
    """A config lacks a field that has no default."""


def setting(
    default: Any,
    meaning: str,
    *,
    choices: Collection[str] | None = None,
    check: Callable[[str, Any], None] | None = None,
    allowed: str = "",
    **bounds: float,
) -> Any:
    """Declares one field of a group.

    Args:
        default: Its default; `REQUIRED` for none; a class of settings for a group of its own.
        meaning: One line for those who set it.
        choices: The names allowed, where these are all.
        check: What refuses a value that is not allowed, called with its name and the value; by
            default the check of the field's type (bool, int, float) with `choices` and `bounds`.
        allowed: What `check` allows, in words.
        **bounds: As of `checks.check_number` and `checks.check_integer`.

    Returns:
        A field of a dataclass.
    """
    metadata = {
        "meaning": meaning,
        "choices": choices,
        "check": check,
        "allowed": allowed,
        "bounds": bounds,
    }
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Declared(NamedTuple):
    """A declared field in words, for a help or a table."""

    name: str
    default: str
    allowed: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of a group of settings; checks every field when it is made.

    Raises:
        InvalidValueError: If a value is not allowed; the message names the field, the value and
            what is allowed.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Averaging(Settings):
        ...     momentum: float = setting(0.0, "Weight of the past.", at_least=0, below=1)
        >>> Averaging.from_config({"momentum": 0.9}, "config.averaging").momentum
        0.9
        >>> Averaging.from_config({"momentum": 2}, "config.averaging")
        Traceback (most recent call last):
        homoode_tf.errors.InvalidValueError: config.averaging.momentum must be a number at least 0 \
and below 1, got 2.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))

    @classmethod
    def from_config(
        cls: type[AnySettings], config: Mapping[str, Any], path: str = "config"
    ) -> AnySettings:
        """Reads a config or one group of it; fields that have a default may be absent.

        Args:
            config: A mapping, a `ConfigDict` for example, from names to values; nested where a
                field is a group of its own.
            path: What the messages call it.

        Returns:
            The checked settings.

        Raises:
            MissingFieldError: If a field without a default is missing.
            InvalidValueError: If a field is unknown or not allowed, or `config` is no mapping.
        """
        values = _as_mapping(config, path)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in fields:
                known = ", ".join(sorted(fields))
                raise InvalidValueError(
                    f"{path} has no field {name!r}; the known ones are {known}."
                )
        for name, field in fields.items():
            if name not in values and _is_required(field):
                raise MissingFieldError(f"{path}.{name} is missing.")
            if name in values and _is_group(field):
                values[name] = field.type.from_config(values[name], f"{path}.{name}")
        try:
            return cls(**values)
        except InvalidValueError as error:  # Its message begins with the field's name.
            raise type(error)(f"{path}.{error}") from None

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Returns all fields that have a default, with it, as a nested dictionary."""
        return cls.complete({})

    @classmethod
    def complete(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a nested config with the defaults of what it lacks; nothing is checked."""
        values = dict(config)
        for field in dataclasses.fields(cls):
            if _is_group(field):
                group = values.get(field.name, {})
                if isinstance(group, Mapping):
                    values[field.name] = field.type.complete(group)
            elif not _is_required(field):
                values.setdefault(field.name, field.default)
        return values

    @classmethod
    def declared(cls, prefix: str = "") -> list[Declared]:
        """Returns every field in words, those of nested groups under their dotted names."""
        found = []
        for field in dataclasses.fields(cls):
            name = prefix + field.name
            if _is_group(field):
                found += field.type.declared(f"{name}.")
            else:
                default = "" if _is_required(field) else repr(field.default)
                found.append(Declared(name, default, _allowed(field), field.metadata["meaning"]))
        return found


def as_help(settings: type[Settings]) -> str:
    """Returns a line for every field of a config, for the help of a command.

    Example:
        >>> from homoode_tf.data import Augmentation
        >>> print(as_help(Augmentation).splitlines()[0])
        crop_padding=0: Pixels of zeros on each side before the random crop; 0 turns it off.
    """
    return "\n".join(
        f"{name}{'=' if default else ''}{default}: {meaning}"
        for name, default, _, meaning in settings.declared()
    )


def as_table(settings: type[Settings]) -> str:
    """Returns the fields of a config as a table in Markdown."""
    rows = [("Field", "Default", "Allowed", "Meaning"), ("---",) * 4]
    for field in settings.declared():
        default = f"`{field.default}`" if field.default else "none"
        rows.append((f"`{field.name}`", default, field.allowed, field.meaning))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _as_mapping(config: Any, path: str) -> dict[str, Any]:
    if hasattr(config, "to_dict"):
        return config.to_dict()
    if not isinstance(config, Mapping):
        raise InvalidTypeError(f"{path} must be a group of fields, got {config!r}.")
    return dict(config)


def _is_group(field: dataclasses.Field) -> bool:
    return isinstance(field.type, type) and issubclass(field.type, Settings)


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is REQUIRED and field.default_factory is REQUIRED


def _check(field: dataclasses.Field, value: Any) -> None:
    name, metadata = field.name, field.metadata
    if metadata["check"] is not None:
        metadata["check"](name, value)
    elif metadata["choices"] is not None:
        checks.check_choice(name, value, metadata["choices"])
    elif field.type is bool:
        checks.check_flag(name, value)
    elif field.type is int:
        checks.check_integer(name, value, **metadata["bounds"])
    elif field.type is float:
        checks.check_number(name, value, **metadata["bounds"])
    elif not isinstance(value, field.type):
        raise InvalidTypeError(f"{name} must be of type {field.type.__name__}, got {value!r}.")


def _allowed(field: dataclasses.Field) -> str:
    if field.metadata["allowed"]:
        return field.metadata["allowed"]
    if field.metadata["choices"] is not None:
        return ", ".join(field.metadata["choices"])
    kinds = {bool: "True or False", int: "an integer", float: "a number"}
    return checks.in_words(kinds[field.type], **field.metadata["bounds"])
