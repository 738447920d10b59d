# SPDX-License-Identifier: Apache-2.0
"""Groups of settings, each field declared once: type, default, bounds and meaning in one place.

A group is a frozen dataclass whose fields `setting` makes; from the declarations come the checks
and their messages, the config of all defaults, the `--help` and the table in the docs. A config is
parsed once, by `from_config`, and handed on as such an object.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

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
    check: Callable[[str, Any], object] | None = None,
    allowed: str = "",
    **bounds: Any,
) -> Any:
    """Declares one field of a group.

    Args:
        default: Its default, which also says the type; `REQUIRED` for none.
        meaning: One line for those who set it.
        choices: The names allowed, where these are all.
        check: What refuses a value, called with its name and the value; by default what the type,
            `choices` and `bounds` say.
        allowed: What `check` allows, in words.
        **bounds: As of `checks.check_number` and `checks.check_integer`.

    Returns:
        A field of a dataclass.
    """
    if choices is not None:
        check = functools.partial(checks.check_choice, allowed=choices)
        allowed = ", ".join(choices)
    elif isinstance(default, bool):
        check, allowed = checks.check_flag, "True or False"
    elif check is None:
        is_integer = isinstance(default, int)
        check = checks.check_integer if is_integer else checks.check_single_number
        check = functools.partial(check, **bounds)
        allowed = checks.in_words("an integer" if is_integer else "a number", **bounds)
    metadata = {"meaning": meaning, "check": check, "allowed": allowed}
    return dataclasses.field(default=default, metadata=metadata)


positive = functools.partial(setting, above=0)
not_negative = functools.partial(setting, at_least=0)
fraction = functools.partial(setting, at_least=0, below=1)
count = functools.partial(setting, at_least=1)


def group(kind: type["Settings"]) -> Any:
    """Declares a field that is a group of its own, by default with all defaults."""
    return dataclasses.field(default_factory=kind)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Base of a group of settings; checks every field when it is made.

    Raises:
        InvalidValueError: If a value is not allowed; the message names the field, the value and
            what is allowed.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Averaging(Settings):
        ...     momentum: float = fraction(0.0, "Weight of the past.")
        >>> Averaging.from_config({"momentum": 0.9}, "config.averaging").momentum
        0.9
        >>> Averaging.from_config({"momentum": 2}, "config.averaging")
        Traceback (most recent call last):
        homoode_tf.errors.InvalidValueError: config.averaging.momentum must be a number at least 0 \
and below 1, got 2.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if not _is_group(field):
                field.metadata["check"](field.name, getattr(self, field.name))

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
        values = config.to_dict() if hasattr(config, "to_dict") else config
        if not isinstance(values, Mapping):
            raise InvalidTypeError(f"{path} must be a group of fields, got {config!r}.")
        values = dict(values)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for name in values.keys() - fields.keys():
            known = ", ".join(sorted(fields))
            raise InvalidValueError(f"{path} has no field {name!r}; the known ones are {known}.")
        for name, field in fields.items():
            if name in values and _is_group(field):
                values[name] = field.type.from_config(values[name], f"{path}.{name}")
            elif name not in values and field.default is REQUIRED and not _is_group(field):
                raise MissingFieldError(f"{path}.{name} is missing.")
        try:
            return cls(**values)
        except InvalidValueError as error:  # Its message begins with the field's name.
            raise type(error)(f"{path}.{error}") from None

    @classmethod
    def complete(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a nested config with the defaults of what it lacks; nothing is checked."""
        values = dict(config)
        for field in dataclasses.fields(cls):
            if not _is_group(field):
                if field.default is not REQUIRED:
                    values.setdefault(field.name, field.default)
            elif isinstance(given := values.get(field.name, {}), Mapping):
                values[field.name] = field.type.complete(given)
        return values

    @classmethod
    def declared(cls, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
        """Yields (name, default, what is allowed, meaning) of every field, the names dotted."""
        for field in dataclasses.fields(cls):
            if _is_group(field):
                yield from field.type.declared(f"{prefix}{field.name}.")
            else:
                default = "" if field.default is REQUIRED else repr(field.default)
                words = field.metadata["allowed"], field.metadata["meaning"]
                yield f"{prefix}{field.name}", default, *words


def _is_group(field: dataclasses.Field) -> bool:
    return isinstance(field.type, type) and issubclass(field.type, Settings)
