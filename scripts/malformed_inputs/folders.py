# SPDX-License-Identifier: Apache-2.0
"""Workdirs and data folders that are not what `train.py` needs."""

import json
import pathlib
import random
import shutil
from collections.abc import Iterator, Sequence

from scripts.malformed_inputs import damage
from scripts.malformed_inputs.case import COMMAND_LINES, TRAIN, Case
from scripts.malformed_inputs.fields import REQUIRED
from scripts.malformed_inputs.materials import Materials
from scripts.malformed_inputs.shuffling import forever

_GARBAGE = ("", "{", "[]", "null", "3", "not JSON", '"text"', "\0\0", '{"a": }', "\udc80")
_MODES = ("train", "evaluate", "export")


def make(materials: Materials, chance: random.Random) -> Iterator[Case]:
    """Makes cases without end, two wrong workdirs and then a wrong data folder."""
    workdirs, others = forever(_WORKDIRS, chance), forever(_OTHER_RUNS, chance)
    data_dirs = forever(_DATA_DIRS, chance)
    while True:
        for source in (workdirs, others, data_dirs):
            yield next(source)(materials, materials.new_folder(), chance)


def _workdir(materials: Materials, folder: pathlib.Path, chance: random.Random) -> Case:
    """A path that can be no run's folder, or that holds none."""
    path = folder / "run"
    reasons = {
        "a file": lambda: path.write_text("a file"),
        "below a file": lambda: path.parent.joinpath("file").write_text("a file"),
        "a dangling link": lambda: path.symlink_to("nothing/nowhere"),
        "a link to itself": lambda: path.symlink_to("run"),
        "too long a name": lambda: None,
        "in /proc": lambda: None,
        "a device": lambda: None,
    }
    reason = chance.choice(list(reasons))
    reasons[reason]()
    elsewhere = {
        "below a file": folder / "file" / "run",
        "too long a name": folder / ("n" * 300),
        "in /proc": pathlib.Path("/proc/run"),
        "a device": pathlib.Path("/dev/null"),
    }
    flags = materials.flags(elsewhere.get(reason, path))
    return _case(folder, f"the workdir is {reason}", flags, ["workdir"])


def _no_run(materials: Materials, folder: pathlib.Path, chance: random.Random) -> Case:
    flags = materials.flags(folder / chance.choice(["", "nothing"]))
    mode = chance.choice(_MODES[1:])
    return _case(folder, f"no run to {mode}", [*flags, f"--mode={mode}"], ["holds no run"])


def _no_checkpoints(materials: Materials, folder: pathlib.Path, chance: random.Random) -> Case:
    run = shutil.copytree(materials.run, folder / "run")
    shutil.rmtree(run / "checkpoints")
    if how := chance.randrange(3):
        (run / "checkpoints").write_text("") if how == 1 else (run / "checkpoints").mkdir()
    mode = chance.choice(_MODES[1:])
    flags = [*materials.flags(run), f"--mode={mode}"]
    return _case(folder, f"no checkpoint to {mode}", flags, ["checkpoint"])


def _other_config(materials: Materials, folder: pathlib.Path, chance: random.Random) -> Case:
    run = shutil.copytree(materials.run, folder / "run")
    field, value = chance.choice(
        [("seed", 7), ("epochs", 5.0), ("model.channels", 8), ("optimizer.name", "sgd")]
    )
    flags = [*materials.flags(run), f"--config.{field}={value}", f"--mode={chance.choice(_MODES)}"]
    return _case(folder, "the run of another config", flags, [field])


def _damaged_record(materials: Materials, folder: pathlib.Path, chance: random.Random) -> Case:
    """config.json or result.json is not what was written."""
    run = shutil.copytree(materials.run, folder / "run")
    name = chance.choice(["config.json", "result.json"])
    path, mode = run / name, "train" if name == "result.json" else chance.choice(_MODES)
    way = chance.choice(["cut short", "overwritten with random bytes", "garbage", "a key less"])
    if way == "garbage":
        path.write_text(chance.choice(_GARBAGE), errors="surrogateescape")
    elif way == "a key less":
        values = json.loads(path.read_text())
        # Of the result those that are shown, of the config those that have no default.
        shown = ("dataset", "steps", "validation_accuracy", "test_accuracy")
        required = [field.name for field in REQUIRED if field.name in values]
        del values[chance.choice(shown if name == "result.json" else required)]
        path.write_text(json.dumps(values))
    else:
        damage.WAYS[way](path, chance)
    flags = [*materials.flags(run), f"--mode={mode}"]
    return _case(folder, f"{name}: {way}", flags, [name, "another config"])


def _no_data(materials: Materials, folder: pathlib.Path, chance: random.Random) -> Case:
    names = ["cifar10", "cifar100", "mnist", "fashion_mnist", "svhn_cropped", "tiny_imagenet"]
    name = chance.choice(names)
    flags = [*materials.flags(folder / "run"), f"--data_dir={folder}", f"--config.dataset={name}"]
    return _case(folder, f"{name} was not fetched", flags, [name])


def _no_data_dir(materials: Materials, folder: pathlib.Path, chance: random.Random) -> Case:
    path = folder / "data"
    path.write_text("a file")
    place = chance.choice([path, path / "below", pathlib.Path("/proc/data")])
    flags = [*materials.flags(folder / "run"), f"--data_dir={place}"]
    return _case(folder, "data_dir is no folder", flags, ["data_dir"])


def _damaged_data(materials: Materials, folder: pathlib.Path, chance: random.Random) -> Case:
    """A file of the prepared digits is not what was written."""
    data = shutil.copytree(materials.data_dir, folder / "data")
    records = sorted(data.rglob("*.tfrecord*"))
    path = chance.choice([*records, *data.rglob("features.json"), *data.rglob("dataset_info.json")])
    ways = ["cut short", "empty", "overwritten with random bytes", "a folder in its place"]
    if path in records:
        # A bit of a description may be one that nothing depends on; without one there is no data
        # set, and the digits are made again.
        ways += ["one bit flipped", "deleted"]
    way = chance.choice(ways)
    damage.WAYS[way](path, chance)
    flags = [*materials.flags(materials.run), f"--data_dir={data}", "--mode=evaluate"]
    return _case(folder, f"{path.name}: {way}", flags, ["damaged"])


_WORKDIRS = (_workdir, _no_run, _no_checkpoints)
_OTHER_RUNS = (_other_config, _damaged_record)
_DATA_DIRS = (_no_data, _no_data_dir, _damaged_data)


def _case(folder: pathlib.Path, reason: str, flags: Sequence[str], names: Sequence[str]) -> Case:
    return Case(COMMAND_LINES, reason, TRAIN, flags, names=names, folder=folder)
