# SPDX-License-Identifier: Apache-2.0
"""Parts of a model that a config identifies, as `homoode_tf.identifiers` says."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import keras

from homoode_tf.errors import InvalidValueError


def check(name: str, value: Any, built_in: Collection[str], kinds: tuple[type, ...]) -> None:
    """Refuses what identifies no part.

    Args:
        name: The field's, as the message gives it.
        value: Its value.
        built_in: The built-in names.
        kinds: The classes of which a part of the user's own must be.

    Raises:
        InvalidValueError: If the value is no identifier of such a part.
    """
    if isinstance(value, str):
        found = keras.saving.get_registered_object(value)
        is_known = value in built_in or (isinstance(found, type) and issubclass(found, kinds))
    elif isinstance(value, Mapping):
        is_known = {"class_name", "config"} <= value.keys()
    else:
        is_known = isinstance(value, kinds)
    if not is_known:
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise InvalidValueError(
            f"{name} must be one of {', '.join(built_in)}, the name of a class registered with "
            f"Keras ('package>Name'), or a {wanted} object, serialised or not; got {value!r}."
        )


def make(
    kind: type,
    offered: Mapping[str, Any],
    catch_all: Mapping[type, Collection[str]] | None = None,
) -> Any:
    """Makes an instance of a class from those of the offered arguments that it takes.

    Args:
        kind: The class; what its `**kwargs` hand to the constructor of a base counts as well.
        offered: Arguments by name.
        catch_all: What the `**kwargs` of some bases take beside.
    """
    taken = set()
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        taken.update(parameter.name for parameter in parameters)
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
        taken.update((catch_all or {}).get(base, ()))
    return kind(**{name: value for name, value in offered.items() if name in taken})
