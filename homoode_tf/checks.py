# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments and of settings, with errors that name what was given and what is allowed."""

import math
import numbers
import os
from collections.abc import Collection
from typing import Any

import ml_dtypes
import numpy as np

from homoode_tf.errors import InvalidTypeError, InvalidValueError

# What a float32 can hold.
_LARGEST_NUMBER = 3.4e38
_INTEGERS_END = 2**31
# But for what parts the names of a path.
_OF_PATTERNS = "[]*?\\".replace(os.sep, "")


def check_number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    optional: bool = False,
) -> None:
    """Refuses what is no finite number within the limits.

    Args:
        name: The argument's or field's, as the message gives it.
        value: Its value.
        at_least: The smallest allowed.
        above: What it must be larger than.
        at_most: The largest allowed; by default what a float32 can hold.
        below: What it must be smaller than.
        optional: Whether None is allowed too.

    Raises:
        InvalidTypeError: If the value is no number.
        InvalidValueError: If it is outside the limits.
    """
    limits = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    _check(name, value, "a number", numbers.Real, _LARGEST_NUMBER, limits, optional)


def check_single_number(name: str, value: Any, **limits: Any) -> None:
    """Refuses what is no number within the limits once it is a float32, as 0.99999999999 below 1.

    Args:
        name: As of `check_number`.
        value: Its value.
        **limits: The same as of `check_number`.

    Raises:
        InvalidTypeError: If the value is no number.
        InvalidValueError: If it is outside the limits, or is rounded to one that it must not reach.
    """
    check_number(name, value, **limits)
    rounded = float(np.float32(value))
    if abs(rounded) < np.finfo(np.float32).tiny:
        rounded = 0.0  # as TensorFlow's operations take it
    try:
        check_number(name, rounded, **limits)
    except InvalidValueError:
        raise InvalidValueError(
            f"{name} must be {in_words('a number', **limits)}, got {_given(value)}, which is "
            f"{rounded:g} in float32."
        ) from None


def numbers_of(name: str, values: Any) -> list[float]:
    """Returns what is a list, array or tensor of numbers, as a list of them.

    Raises:
        InvalidTypeError: If it is something else.
        InvalidValueError: If a number is not finite.
    """
    # As objects, so that lists of several lengths are seen for what they are.
    values = np.asarray(values, object).tolist()
    if not isinstance(values, list):
        raise InvalidTypeError(f"{name} must be a list of numbers, got {values!r}.")
    for index, value in enumerate(values):
        check_number(f"{name}[{index}]", value)
    return [float(value) for value in values]


def check_integer(
    name: str,
    value: Any,
    *,
    at_least: int | None = None,
    at_most: int | None = None,
    below: int = _INTEGERS_END,
    optional: bool = False,
) -> None:
    """Refuses what is no integer within the limits; of 32 bits, if nothing else is said.

    Args:
        name: As of `check_number`, and so are the others.
        value: Its value.
        at_least: The smallest allowed.
        at_most: The largest allowed.
        below: What it must be smaller than.
        optional: Whether None is allowed too.

    Raises:
        InvalidTypeError: If the value is no integer.
        InvalidValueError: If it is outside the limits.
    """
    limits = {"at_least": at_least, "at_most": at_most, "below": below}
    _check(name, value, "an integer", numbers.Integral, math.inf, limits, optional)


def in_words(kind: str, **limits: float | None) -> str:
    """Says what is allowed.

    Example:
        >>> in_words("a number", at_least=0, below=1)
        'a number at least 0 and below 1'
    """
    said = [
        f"{name.replace('_', ' ')} {limit}" for name, limit in limits.items() if limit is not None
    ]
    return " ".join([kind, " and ".join(said)]).strip()


def _check(name, value, kind, number_type, largest, limits, optional) -> None:
    if value is None and optional:
        return
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    is_number = isinstance(value, number_type) and not isinstance(value, bool)
    if is_number and (
        abs(value) <= largest
        and (limits["at_least"] is None or value >= limits["at_least"])
        and (limits.get("above") is None or value > limits["above"])
        and (limits["at_most"] is None or value <= limits["at_most"])
        and (limits["below"] is None or value < limits["below"])
    ):
        return
    if is_number and abs(value) > largest:
        limits = {**limits, "at_most": largest}
    if limits["below"] == _INTEGERS_END and not (is_number and value >= _INTEGERS_END):
        # The bound of all integers is worth a word only where it was met.
        limits = {**limits, "below": None}
    allowed = in_words(kind, **limits) + (" or None" if optional else "")
    error = InvalidValueError if is_number else InvalidTypeError
    raise error(f"{name} must be {allowed}, got {_given(value)}.")


def _given(value: Any) -> str:
    """A value as a message gives it, on one line; of a tensor or a variable, what to do instead."""
    text = " ".join(repr(value).split())
    if hasattr(value, "dtype") and not isinstance(value, (np.generic, np.ndarray)):
        text += ", of which only the value of this moment would count: give a Python number"
    return text


def check_choice(name: str, value: Any, allowed: Collection[str]) -> None:
    """Refuses, with an `InvalidValueError`, what is none of the names allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise InvalidValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def check_tolerances(rtol: float, atol: float, dtype: Any, share: int = 1) -> None:
    """Refuses, with an `InvalidValueError`, tolerances that are both below a dtype's resolution.

    A solver would take ever shorter steps, and never be content. One of them may be that small:
    the other then decides.

    Args:
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        dtype: NumPy's, of the state.
        share: How many times below the resolution the smallest is that is allowed: errors of a step
            in time are rounded as its changes are, which may be that much smaller than the state.
    """
    smallest = float(ml_dtypes.finfo(dtype).eps) / share
    if 0.0 < max(rtol, atol) < smallest:  # zero is never reached, and asks for all iterations
        raise InvalidValueError(
            f"rtol or atol must be at least {smallest:.2g} with a state of dtype "
            f"{np.dtype(dtype).name}, which resolves no more, got rtol={rtol:g} and atol={atol:g}: "
            "loosen one of them, or solve in a dtype of more digits."
        )


def check_path(name: str, value: str | os.PathLike, remote: bool = False) -> str:
    """Returns a path with `~` expanded; refuses one that TensorFlow would take for another.

    Args:
        name: The argument's or flag's, as the message gives it.
        value: The path.
        remote: Whether the address of another file system, as gs://, is allowed.

    Raises:
        InvalidValueError: If it holds a letter of TensorFlow's patterns, or bytes that are no
            UTF-8, or is an address.
    """
    path = os.path.expanduser(os.fsdecode(value))
    check_utf8(name, path)
    found = sorted({*path} & {*_OF_PATTERNS})
    if found:
        raise InvalidValueError(
            f"{name} must be a path without {' '.join(_OF_PATTERNS)}, which TensorFlow reads as "
            f"patterns; got {path!r} with {' '.join(found)}: rename the folder."
        )
    if "://" in path and not remote:
        raise InvalidValueError(
            f"{name} must be a path of this machine, got {path!r}: mount that place, or copy."
        )
    return path


def check_utf8(name: str, value: str) -> None:
    """Refuses, with an `InvalidValueError`, a text of bytes that are no UTF-8, as paths may be."""
    try:
        value.encode()
    except UnicodeEncodeError:
        given = value.encode(errors="surrogateescape")
        raise InvalidValueError(
            f"{name} must be text in UTF-8, got {given!r}: rename the folder."
        ) from None


def check_flag(name: str, value: Any) -> None:
    """Refuses, with an `InvalidTypeError`, what is neither True nor False."""
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{name} must be True or False, got {value!r}.")
