# SPDX-License-Identifier: Apache-2.0
"""Config files that are wrong, or put something wrong into a field."""

import random
import textwrap
from collections.abc import Iterator

from scripts.malformed_inputs.case import COMMAND_LINES, TRAIN, Case
from scripts.malformed_inputs.fields import FIELDS, GROUPS, REQUIRED, Field
from scripts.malformed_inputs.materials import SMALL, Materials
from scripts.malformed_inputs.shuffling import forever

_RECIPE = """\
from configs import digits


def get_config():
    config = digits.get_config()
    config.update_from_flattened_dict({small!r})
    with config.unlocked(), config.ignore_type():
        {change}
    return config
"""
_WORD = "Heffalump"


def values(materials: Materials, chance: random.Random) -> Iterator[Case]:
    """Recipes with a field that is missing, unknown, or has a value that it must not have."""
    unknown = Field(_WORD, (), ())
    changes = [
        *((f, f"config.{f.name} = {value}") for f in FIELDS for value in f.expressions),
        *((field, f"del config.{field.name}") for field in REQUIRED),
        *((g, f"config.{g.name} = {value}") for g in GROUPS for value in g.expressions),
        *((unknown, f"config.{g.name}.{_WORD} = 1") for g in GROUPS),
        (unknown, f"config.{_WORD} = 1"),
    ]
    for field, change in forever(changes, chance):
        small = {**SMALL, **field.sound_beside(chance)}
        yield _case(
            materials,
            change,
            _RECIPE.format(small=small, change=change),
            names=[field.name.split(".")[-1]],
            status=1,
        )


def programs(materials: Materials, chance: random.Random) -> Iterator[Case]:
    """Files that give no config."""
    no_recipes = [
        ("an empty file", "", "get_config"),
        ("no get_config", "config = 3", "get_config"),
        ("get_config is no function", "get_config = 3", "config"),
        ("not Python", f"def get_config(:\n    {_WORD}", "syntax"),
        ("random bytes", None, "config"),
        ("imports what is not there", f"import {_WORD}", _WORD),
        ("raises while it is read", f"raise KeyError('{_WORD}')", _WORD),
        ("ends the process while it is read", "raise SystemExit(0)", "config"),
        *(
            (f"get_config has {body}", f"def get_config():\n    {body}", name)
            for body, name in (
                (f"raise ValueError('{_WORD}')", _WORD),
                (f"raise RuntimeError('{_WORD}')", _WORD),
                ("raise AssertionError", "AssertionError"),
                ("raise SystemExit(0)", "config"),
                (f"return {_WORD}", _WORD),
                ("return 1 / 0", "zero"),
                ("return get_config()", "recursion"),
                ("return None", "get_config"),
                ("return 3", "get_config"),
                ("return [1, 2]", "get_config"),
                ("return 'digits'", "get_config"),
                ("pass", "get_config"),
            )
        ),
        ("get_config wants an argument", "def get_config(name):\n    return {}", "argument"),
    ]
    for reason, text, name in forever(no_recipes, chance):
        if text is None:
            text = chance.randbytes(chance.randrange(1, 300)).decode("latin-1")
        yield _case(materials, reason, text, names=[name], status=2)


def _case(materials: Materials, reason: str, text: str, names: list[str], status: int) -> Case:
    folder = materials.new_folder()
    path = folder / "recipe.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return Case(
        COMMAND_LINES,
        reason,
        TRAIN,
        [f"--config={path}", f"--workdir={folder / 'run'}", f"--data_dir={materials.data_dir}"],
        names=names,
        statuses=[status],
        folder=folder,
    )
