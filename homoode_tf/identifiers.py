# SPDX-License-Identifier: Apache-2.0
"""From a name, a saved description or an object to the object: the one door for all parts.

A part that a user wrote (a solver, a tableau, an initial point, dynamics, a layer) comes in
wherever one of this package does: as an object, or, once its class is registered with
`keras.saving.register_keras_serializable`, by its registered name or as what
`keras.saving.serialize_keras_object` makes of it.
"""

import typing
from collections.abc import Callable, Mapping
from typing import Any

import keras

from homoode_tf.errors import InvalidTypeError, InvalidValueError


def resolve(
    kind: str,
    identifier: Any,
    base: type,
    by_name: Mapping[str, Callable[..., Any]],
    options: Mapping[str, Any] | None = None,
    classes: Mapping[str, type] | None = None,
) -> Any:
    """Returns the object that an identifier stands for.

    Args:
        kind: What it is, as messages call it.
        identifier: A name in `by_name`, the registered name of a class, what Keras makes of an
            object to save it, or an object.
        base: The class that objects must be of.
        by_name: Makes the object of each name, with `options`.
        options: Arguments for an object that is made by name; those of another object are its own.
        classes: Classes by their plain names, for descriptions that give no other.

    Returns:
        An instance of `base`.

    Raises:
        InvalidValueError: If there is no such thing, or options come with an object.
        InvalidTypeError: If an option is unknown.
    """
    options = dict(options or {})
    found = find(kind, identifier, base, by_name, classes)
    if isinstance(identifier, str):
        return _made(found, identifier, options)
    if options:
        raise InvalidValueError(
            f"{', '.join(options)} belong to a {kind} given by name; here they came with "
            f"{found!r}. Set them on the {kind} itself."
        )
    return found


def find(
    kind: str,
    identifier: Any,
    base: type,
    by_name: Mapping[str, Callable[..., Any]],
    classes: Mapping[str, type] | None = None,
) -> Any:
    """Returns what makes the object that a name stands for, or the object of a description.

    Args:
        kind: As of `resolve`, and so are all others.
        identifier: What is looked up.
        base: The class that objects must be of.
        by_name: What makes the object of each name.
        classes: Classes by their plain names.

    Raises:
        InvalidValueError: If there is no such thing, or a description makes none.
    """
    found = identifier
    if isinstance(identifier, str):
        make = by_name.get(identifier) or _registered(identifier, base)
        if make is not None:
            return make
    elif isinstance(identifier, Mapping):
        try:
            found = _deserialized(dict(identifier), classes or {})
        except (TypeError, ValueError) as error:
            raise InvalidValueError(
                f"{kind} cannot be made from {dict(identifier)!r}: {error}"
            ) from error
    if isinstance(found, base):
        return found
    wanted = " or ".join(base.__name__ for base in typing.get_args(base) or (base,))
    raise InvalidValueError(
        f"{kind} must be one of {', '.join(by_name)}, the name of a class registered with Keras "
        f"('package>Name'), or a {wanted} object, got {identifier!r}."
    )


def _registered(name: str, base: type) -> type | None:
    found = keras.saving.get_registered_object(name)
    return found if isinstance(found, type) and issubclass(found, base) else None


def _made(make: Callable[..., Any], name: str, options: dict[str, Any]) -> Any:
    try:
        return make(**options)
    except TypeError as error:
        if isinstance(error, InvalidTypeError):
            raise
        raise InvalidTypeError(f"{name}: {error}") from error


def _deserialized(description: dict[str, Any], classes: Mapping[str, type]) -> Any:
    if description.get("registered_name") is None and description.get("class_name") in classes:
        made = classes[description["class_name"]]
        config = description.get("config", {})
        return made.from_config(config) if hasattr(made, "from_config") else made(**config)
    return keras.saving.deserialize_keras_object(description)
