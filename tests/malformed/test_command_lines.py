# SPDX-License-Identifier: Apache-2.0
"""Command lines of `train.py` whose flags, config, workdir or data are wrong.

A case is flags, the text of a config file or None, what the message names, and the right statuses.
"""

import json
import pathlib
import random
import shutil
import tempfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from configs import digits
from tests.malformed import commands
from tests.malformed.conftest import SMALL, examples
from tests.malformed.damage import damage
from tests.malformed.fields import FIELDS, GROUPS, NOT_DEFAULT, REQUIRED

_UNKNOWN = "Heffalump"
_RECIPE = """\
from configs import digits
def get_config():
    config = digits.get_config()
    config.update_from_flattened_dict({small!r})
    with config.unlocked(), config.ignore_type():
        {change}
    return config
"""
# ml_collections refuses what has not the field's type, the project what is out of range.
_OVERRIDES = st.sampled_from(FIELDS).flatmap(
    lambda field: st.builds(
        lambda beside, text: (
            [f"--config.{name}={value}" for name, value in {**beside, field.name: text}.items()],
            *(None, [field.name.split(".")[-1]], (1, 2)),
        ),
        st.sampled_from(field.beside),
        st.sampled_from(field.texts),
    )
)


def _in_file(change, name, beside=()):
    recipe = _RECIPE.format(small={**SMALL, **dict(beside)}, change=change)
    return [], recipe, [name.split(".")[-1]], (1,)


_VALUES_IN_FILES = st.sampled_from([*FIELDS, *GROUPS]).flatmap(
    lambda field: st.builds(
        lambda beside, value: _in_file(f"config.{field.name} = {value}", field.name, beside),
        st.sampled_from(field.beside),
        st.sampled_from(field.expressions),
    )
)
_GROUPS = ["config", *(f"config.{group.name}" for group in GROUPS)]
_OTHER_FIELDS_IN_FILES = st.sampled_from(
    [_in_file(f"del config.{name}", name) for name in REQUIRED]
    + [_in_file(f"{group}.{_UNKNOWN} = 1", _UNKNOWN) for group in _GROUPS]
)
_PROGRAMS = st.sampled_from(
    [
        *(("", "get_config"), ("config = 3", "get_config"), ("get_config = 3", "config")),
        *((f"def get_config(:\n    {_UNKNOWN}", "syntax"), (f"import {_UNKNOWN}", _UNKNOWN)),
        *((f"raise KeyError('{_UNKNOWN}')", _UNKNOWN), ("raise SystemExit(0)", "config")),
        ("def get_config(name):\n    return {}", "argument"),
    ]
    + [
        (f"def get_config():\n    {body}", name)
        for body, name in [
            (f"raise ValueError('{_UNKNOWN}')", _UNKNOWN),
            (f"raise RuntimeError('{_UNKNOWN}')", _UNKNOWN),
            *(("raise AssertionError", "AssertionError"), ("raise SystemExit(0)", "config")),
            *((f"return {_UNKNOWN}", _UNKNOWN), ("return 1 / 0", "zero")),
            *(("return get_config()", "recursion"), ("pass", "get_config")),
            *((f"return {value}", "get_config") for value in ("None", "3", "[1, 2]", "'digits'")),
        ]
    ]
).map(lambda program: ([], program[0], [program[1]], (2,)))
_NO_PROGRAMS = st.binary(min_size=1, max_size=300).map(
    lambda content: ([], content.decode("latin-1"), ["config"], (2,))
)
# No word of any language, and so no flag: all of them hold a vowel.
_WORDS = st.text("bcdfghjklmnpqrstvwxz", min_size=5, max_size=14)
_UNKNOWN_FLAGS = st.builds(
    lambda pattern, word: ([pattern.format(word)], None, [word], (2,)),
    st.sampled_from(
        ["--{}", "--{}=1", "-{}", "--no{}", "{}", "--workdir{}=x", "--config.{}"]
        + [f"--{group}.{{}}=1" for group in _GROUPS]
        + ["--config.batch_size.{}=1", "--config.optimizer.name.{}=1"]
    ),
    _WORDS,
)
_FLAGS = st.builds(
    lambda flag, word: ([flag[0].format(word)], None, [flag[1].split(".")[-1]], flag[2:] or (2,)),
    st.sampled_from(
        [(f"--{name}", name) for name in ("mode", "workdir", "data_dir", "config", "config.seed")]
        + [(f"--{name}=", name) for name in ("mode", "strategy", "workdir", "config")]
        + [(f"--{name}={{}}", name) for name in ("mode", "strategy", "verbosity", "flagfile")]
        + [(f"--{name}={{}}", name) for name in ("deterministic", "profile_steps")]
        + [("--mode=TRAIN", "mode"), ("--deterministic=2", "deterministic")]
        + [("--profile_steps=-1", "profile_steps"), ("--noconfig.seed", "seed")]
        + [("--config.optimizer=3", "optimizer"), ("--config.model={}", "model")]
        + [("--config.=1", "field"), ("--config..seed=1", "field")]
        + [("--strategy=multi_worker", "TF_CONFIG", 1), ("--strategy=tpu", "TPU", 1)]
        + [("--data_dir=", "data_dir")]
    ),
    _WORDS,
)


# What follows is made of files: folders that are not what `train.py` needs.
def workdir(_, folder, chance):
    """A path that can be no run's folder."""
    (folder / "file").write_text("a file")
    (folder / "dangling").symlink_to("nothing/nowhere")
    (folder / "loop").symlink_to("loop")
    places = ["file", "file/run", "dangling", "loop", "n" * 300, "/proc/run", "/dev/null"]
    return [f"--workdir={folder / chance.choice(places)}"], ["workdir"]


def no_run(materials, folder, chance):
    """A folder without a run, or a run without checkpoints, to evaluate or export."""
    mode = f"--mode={chance.choice(['evaluate', 'export'])}"
    how = chance.choice(["no run", "no folder", "no checkpoints", "an empty folder", "a file"])
    if how.startswith("no ") and how != "no checkpoints":
        return [f"--workdir={folder / ('' if how == 'no run' else 'none')}", mode], ["holds no run"]
    checkpoints = shutil.copytree(materials.run, folder / "run") / "checkpoints"
    shutil.rmtree(checkpoints)
    if how == "an empty folder":
        checkpoints.mkdir()
    elif how == "a file":
        checkpoints.write_text("")
    return [mode], ["checkpoint"]


def other_config(materials, folder, chance):
    """The run of another config."""
    shutil.copytree(materials.run, folder / "run")
    changes = [("seed", 7), ("epochs", 5.0), ("model.channels", 8), ("optimizer.name", "sgd")]
    field, value = chance.choice(changes)
    return [f"--config.{field}={value}", f"--mode={chance.choice(_MODES)}"], [field]


_MODES = ("train", "evaluate", "export")
_GARBAGE = ("", "{", "[]", "null", "3", "not JSON", '"text"', "\0\0", '{"a": }', "\udc80")


def damaged_record(materials, folder, chance):
    """config.json or result.json is not what was written."""
    name = chance.choice(["config.json", "result.json"])
    path = shutil.copytree(materials.run, folder / "run") / name
    way = chance.choice(["cut short", "overwritten with random bytes", "garbage", "a key less"])
    if way == "garbage":
        path.write_text(chance.choice(_GARBAGE), errors="surrogateescape")
    elif way == "a key less":
        values = json.loads(path.read_text())
        # Of the result those that are shown, of the config those that have another default.
        shown = ["dataset", "steps", "validation_accuracy", "test_accuracy"]
        del values[chance.choice(shown if name == "result.json" else NOT_DEFAULT)]
        path.write_text(json.dumps(values))
    else:
        damage(path, way, chance)
    mode = "train" if name == "result.json" else chance.choice(_MODES)
    return [f"--mode={mode}"], [name, "another config"]


def no_data(_, folder, chance):
    """A data set that was not fetched, or a data folder that is none."""
    (folder / "file").write_text("a file")
    if chance.random() < 0.5:
        return [f"--data_dir={folder / chance.choice(['file', 'file/below', '/proc/data'])}"], [
            "data_dir"
        ]
    names = ["cifar10", "cifar100", "mnist", "fashion_mnist", "svhn_cropped", "tiny_imagenet"]
    name = chance.choice(names)
    return [f"--data_dir={folder}", f"--config.dataset={name}"], [name]


def damaged_data(materials, folder, chance):
    """A file of the prepared digits is not what was written."""
    data = shutil.copytree(materials.data_dir, folder / "data")
    records = sorted(data.rglob("*.tfrecord*"))
    path = chance.choice([*records, *data.rglob("features.json"), *data.rglob("dataset_info.json")])
    ways = ["cut short", "empty", "overwritten with random bytes", "a folder in its place"]
    if path in records:
        # A bit of a description may be one that nothing depends on; without one there is no data
        # set, and the digits are made again.
        ways += ["one bit flipped", "deleted"]
    damage(path, chance.choice(ways), chance)
    return [f"--workdir={materials.run}", f"--data_dir={data}", "--mode=evaluate"], ["damaged"]


_FOLDERS = st.sampled_from([workdir, no_run, other_config, damaged_record, no_data, damaged_data])
# The values of fields come more often: there are the most ways to be wrong.
_VALUES = [_OVERRIDES, _VALUES_IN_FILES] * 3 + [_OVERRIDES, _OTHER_FIELDS_IN_FILES]


@pytest.mark.slow
@examples(few=30)
@given(
    case=st.one_of(*_VALUES, _FLAGS, _UNKNOWN_FLAGS, _PROGRAMS | _NO_PROGRAMS, _FOLDERS),
    chance=st.randoms(use_true_random=True),
    as_user=st.sampled_from([False] * 49 + [True]),
)
@example(case=(["--config.=1"], None, ["field"], (2,)), chance=random.Random(0), as_user=False)
def test_is_refused_in_one_line_and_nothing_is_lost(materials, case, chance, as_user):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if callable(case):
            flags, names = case(materials, folder, chance)
            recipe, statuses = None, (1,)
        else:
            flags, recipe, names, statuses = case
        flags = [*materials.flags(folder / "run"), *flags]
        if recipe is not None:
            (folder / "recipe.py").write_text(recipe, encoding="utf-8")
            flags = [f"--config={folder / 'recipe.py'}", *flags[:2]]
        before = commands.contents(folder)
        outcome = commands.run(["train.py", *flags], as_user)
        assert commands.fault(outcome, names, statuses) is None, flags
        assert before.items() <= commands.contents(folder).items()


def test_every_field_of_a_config_has_wrong_values():
    def names(config, prefix=""):
        for name, value in config.items():
            yield from (
                names(value, f"{prefix}{name}.") if hasattr(value, "items") else [prefix + name]
            )

    assert {field.name for field in FIELDS} == set(names(digits.get_config()))
    assert all(field.texts and field.expressions for field in FIELDS)
