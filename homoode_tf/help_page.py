# SPDX-License-Identifier: Apache-2.0
"""What `--help` prints: a command's flags, and the fields of its recipe."""

import argparse
import pathlib
import sys
from collections.abc import Iterable

from absl import flags


def text(description: str, own: flags.FlagValues, fields: Iterable[tuple[str, str]]) -> str:
    """Returns the page, as wide as the terminal is.

    Args:
        description: What the command does, and examples.
        own: Its flags.
        fields: (name and default, meaning) of each field of its recipe.
    """
    page = argparse.ArgumentParser(
        pathlib.Path(sys.argv[0]).name,
        "%(prog)s [--FLAG=VALUE ...] [--config.FIELD=VALUE ...]",
        description,
        formatter_class=_Format,
        add_help=False,
    )
    group = page.add_argument_group("flags")
    for name in sorted(own):
        default = own[name].default
        shown = "" if default is None else f"={default}"
        group.add_argument(f"--{name}{shown}", help=_plain(own[name].help), action="store_true")
    group = page.add_argument_group("fields of the recipe, for --config.FIELD=VALUE")
    for field, meaning in fields:
        group.add_argument(field, help=_plain(meaning))
    return page.format_help()


class _Format(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=30)


def _plain(meaning: str | None) -> str:
    return (meaning or "").replace("%", "%%")
