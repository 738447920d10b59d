# SPDX-License-Identifier: Apache-2.0
"""Checks of a config's fields, with errors that name the field, its value and what is allowed."""

from collections.abc import Collection
from typing import Any

# What a float32 can hold.
_LARGEST_NUMBER = 3.4e38
_INTEGERS_END = 2**31


def check_number(
    name: str,
    value: Any,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    kind: str = "a number",
) -> None:
    """Refuses what is no number that a float32 can hold, or is beyond a limit.

    Args:
        name: The field's, as the message gives it.
        value: Its value.
        at_least: The smallest allowed.
        above: What it must be larger than.
        below: What it must be smaller than.
        kind: What the message calls it.

    Raises:
        ValueError: If the value is refused.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    allowed = is_number and abs(value) <= _LARGEST_NUMBER
    limits = []
    if at_least is not None:
        limits.append(f"at least {at_least}")
        allowed = allowed and value >= at_least
    if above is not None:
        limits.append(f"above {above}")
        allowed = allowed and value > above
    if below is not None:
        limits.append(f"below {below}")
        allowed = allowed and value < below
    elif is_number and value > _LARGEST_NUMBER:
        limits.append(f"at most {_LARGEST_NUMBER}")
    if not allowed:
        raise ValueError(f"{name} must be {kind} {' and '.join(limits)}, got {value!r}.")


def check_integer(
    name: str, value: Any, at_least: int | None = None, below: int = _INTEGERS_END
) -> None:
    """Refuses what is no integer of 32 bits, or is beyond a limit.

    Args:
        name: The field's, as the message gives it.
        value: Its value.
        at_least: The smallest allowed.
        below: What it must be smaller than.

    Raises:
        ValueError: If the value is refused.
    """
    if isinstance(value, float):
        raise ValueError(f"{name} must be an integer, got {value!r}.")
    check_number(name, value, at_least=at_least, below=below, kind="an integer")


def check_choice(name: str, value: Any, allowed: Collection[str]) -> None:
    """Refuses, with a ValueError, what is none of the names allowed."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def check_flag(name: str, value: Any) -> None:
    """Refuses, with a ValueError, what is neither True nor False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")
