# SPDX-License-Identifier: Apache-2.0
"""Flags that are given with nothing in them, as by a variable of the shell that is not set.

Taken for flags that are not given, they would start what nobody asked for.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from absl import flags

_MESSAGE = "must not be empty: give a value, or leave the flag out"


def refuse(own: flags.FlagValues) -> None:
    """Lets the flags defined so far refuse an empty value, when absl parses the command line."""
    for name in own:
        flags.register_validator(name, _is_something, f"It {_MESSAGE}.", own)


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parses a command line as `argparse` does; an empty value is an error of usage.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument("--output")
        >>> parse(parser, ["--output=figures"]).output
        'figures'
    """
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        # One of several paths may be empty: as one that is not there it is told with the others.
        if isinstance(value, str) and not _is_something(value):
            parser.error(f"argument --{name}: it {_MESSAGE}")
    return options


def _is_something(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_is_something, value))
    return not isinstance(value, str) or bool(value.strip())
