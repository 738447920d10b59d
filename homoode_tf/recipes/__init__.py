# SPDX-License-Identifier: Apache-2.0
"""The recipes that come with the package, and how `--config` finds one by its name."""

import difflib
import pathlib
import sys

from homoode_tf.errors import InvalidValueError

_HERE = pathlib.Path(__file__).resolve().parent
# An installed package has them beside this file, a checkout at its top.
_HOME = _HERE if (_HERE / "configs").is_dir() else _HERE.parents[1]
_FOLDER = _HOME / "configs"


def names() -> list[str]:
    """Returns the names of all recipes, comparisons among them."""
    files = sorted(_FOLDER.glob("*.py"))
    return [file.stem for file in files if "def get_config(" in file.read_text("utf-8")]


def find(recipe: str) -> str:
    """Returns the path of a config file, and makes what it may import, `configs`, importable.

    Args:
        recipe: A path, or the name of a recipe; after a colon what its `get_config` takes.

    Raises:
        InvalidValueError: If there is neither; the message lists the names.

    Example:
        >>> find("cifar10").endswith("configs/cifar10.py")
        True
    """
    if str(_HOME) not in sys.path:
        sys.path.append(str(_HOME))  # last: the user's own `configs` comes first
    path, colon, argument = recipe.partition(":")
    given, known = pathlib.PurePath(path), names()
    if pathlib.Path(path).is_file():
        return recipe
    if given.stem in known and str(given.parent) in (".", "configs"):
        return f"{_FOLDER / given.stem}.py{colon}{argument}"
    closest = difflib.get_close_matches(given.stem, known, n=1)
    hint = f" Did you mean {closest[0]}?" if closest else ""
    raise InvalidValueError(
        f"--config={recipe}: no such recipe or file. The recipes are {', '.join(known)}.{hint}"
    )
