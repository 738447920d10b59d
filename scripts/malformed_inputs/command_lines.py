# SPDX-License-Identifier: Apache-2.0
"""Command lines of `train.py` whose flags or config are wrong."""

import random
from collections.abc import Iterator

from scripts.malformed_inputs import config_files, folders
from scripts.malformed_inputs.case import COMMAND_LINES, TRAIN, Case
from scripts.malformed_inputs.fields import FIELDS, GROUPS
from scripts.malformed_inputs.materials import Materials
from scripts.malformed_inputs.shuffling import forever, in_turn

_REFUSED, _USAGE = (1,), (2,)
# ml_collections refuses what has not the field's type, the project what is out of range.
_EITHER = (1, 2)


def make(materials: Materials, chance: random.Random, count: int) -> list[Case]:
    """Makes `count` cases.

    Args:
        materials: What they are made from.
        chance: Decides everything.
        count: How many.
    """
    # The values of fields come more often: there are the most ways to be wrong.
    values, values_in_files = _overrides(materials, chance), config_files.values(materials, chance)
    sources = [
        *(values, values_in_files, _flags(materials, chance)),
        *(values, values_in_files, _unknown(materials, chance)),
        *(values, values_in_files, config_files.programs(materials, chance)),
        *(values, values_in_files, folders.make(materials, chance)),
    ]
    return in_turn(sources, count)


def _overrides(materials: Materials, chance: random.Random) -> Iterator[Case]:
    """`--config.FIELD=VALUE` with a value that the field must not have."""
    for field, text in forever(((f, text) for f in FIELDS for text in f.texts), chance):
        flags = materials.flags(materials.new_folder() / "run", field.sound_beside(chance))
        yield Case(
            COMMAND_LINES,
            f"config.{field.name} must not be {text!r}",
            TRAIN,
            [*flags, f"--config.{field.name}={text}"],
            names=[field.name.split(".")[-1]],
            statuses=_EITHER,
        )


def _unknown(materials: Materials, chance: random.Random) -> Iterator[Case]:
    """Flags and fields that there are not."""
    patterns = [
        *("--{}", "--{}=1", "-{}", "--no{}", "{}", "--workdir{}=x", "--config.{}", "--config.{}=1"),
        *(f"--config.{group.name}.{{}}=1" for group in GROUPS),
        *("--config.batch_size.{}=1", "--config.optimizer.name.{}=1"),
    ]
    for pattern in forever(patterns, chance):
        word = _word(chance)
        yield Case(
            COMMAND_LINES,
            f"there is no {pattern.format(word)}",
            TRAIN,
            [*materials.flags(materials.new_folder() / "run"), pattern.format(word)],
            names=[word],
            statuses=_USAGE,
        )


def _flags(materials: Materials, chance: random.Random) -> Iterator[Case]:
    """Known flags with wrong values or without one."""
    known = [
        ("an unknown mode", "--mode={}", "mode", _USAGE),
        ("a mode in capitals", "--mode=TRAIN", "mode", _USAGE),
        ("no mode", "--mode=", "mode", _USAGE),
        ("a mode without a value", "--mode", "mode", _USAGE),
        ("an unknown strategy", "--strategy={}", "strategy", _USAGE),
        ("no strategy", "--strategy=", "strategy", _USAGE),
        ("no cluster is described", "--strategy=multi_worker", "TF_CONFIG", _REFUSED),
        ("there is no TPU", "--strategy=tpu", "TPU", _REFUSED),
        ("neither true nor false", "--deterministic={}", "deterministic", _USAGE),
        ("neither true nor false", "--deterministic=2", "deterministic", _USAGE),
        ("a negative number of steps", "--profile_steps=-1", "profile_steps", _USAGE),
        ("no number of steps", "--profile_steps={}", "profile_steps", _USAGE),
        ("an empty workdir", "--workdir=", "workdir", _USAGE),
        ("a workdir without a value", "--workdir", "workdir", _USAGE),
        ("an empty data_dir", "--data_dir=", "data_dir", _REFUSED),
        ("a data_dir without a value", "--data_dir", "data_dir", _USAGE),
        ("no config file", "--config=", "config", _USAGE),
        ("a config without a value", "--config", "config", _USAGE),
        ("no level", "--verbosity={}", "verbosity", _USAGE),
        ("a file of flags that is not there", "--flagfile={}", "flagfile", _USAGE),
        ("a group's place taken by a value", "--config.optimizer=3", "optimizer", _USAGE),
        ("a group's place taken by a word", "--config.model={}", "model", _USAGE),
        ("a field without a name", "--config.=1", "field", _USAGE),
        ("a group without a name", "--config..seed=1", "field", _USAGE),
        ("an int without a value", "--config.seed", "seed", _USAGE),
        ("a truth value for an int", "--noconfig.seed", "seed", _USAGE),
    ]
    for reason, pattern, name, statuses in forever(known, chance):
        workdir = materials.new_folder() / "run"
        flag = pattern.format(_word(chance))
        yield Case(
            COMMAND_LINES,
            reason,
            TRAIN,
            [*materials.flags(workdir), flag],
            names=[name],
            statuses=statuses,
        )


def _word(chance: random.Random) -> str:
    # No word of any language, and so no flag: all of them hold a vowel.
    return "".join(chance.choices("bcdfghjklmnpqrstvwxz", k=chance.randrange(5, 15)))
