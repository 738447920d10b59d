# SPDX-License-Identifier: Apache-2.0
"""Damaged checkpoints of a small run, which is then resumed, evaluated or exported."""

import json
import pathlib
import random
import shutil
from collections.abc import Iterator

from scripts.malformed_inputs import damage
from scripts.malformed_inputs.case import CHECKPOINTS, TRAIN, Case
from scripts.malformed_inputs.materials import Materials, best_checkpoint
from scripts.malformed_inputs.shuffling import forever, in_turn

_FILES = ("state.index", "state.data-00000-of-00001", "manifest.json")
_JSON = ("", "{", "[]", "null", "3", "not JSON", '"text"', "\0\0", "{}", '{"step": 3}', "NaN")
# What the manifest must not hold instead of what it does.
_FIELDS = {
    "step": (None, "x", -1, 2.5, 10**30, 7, [], True),
    "complete": (None, "yes", 1, []),
    "validation_accuracy": ("high", -1.0, 7.0, float("nan"), [], {}, True),
    "clock": (None, 3, [], "x", {"training_seconds": "x"}, {"examples": None}),
    "files": (None, 3, [], {}, "x", {"state.index": 3}, {"../state.index": {}}),
    "another": (1,),
}


def make(materials: Materials, chance: random.Random, count: int) -> list[Case]:
    """Makes `count` cases.

    In turn the checkpoint that is wanted is damaged, so that another must serve and a warning say
    so, and all are, which is an error.

    Args:
        materials: What they are made from.
        chance: Decides everything.
        count: How many.
    """
    return in_turn([_one(materials, chance), _all(materials, chance)], count)


def _one(materials: Materials, chance: random.Random) -> Iterator[Case]:
    modes = forever(_MODES, chance)
    for way in forever(_WAYS, chance):
        mode = next(modes)
        run = _copy(materials)
        checkpoints = run / "checkpoints"
        # What is resumed is the last, what is evaluated or exported the best.
        wanted = max(checkpoints.iterdir()) if mode == "train" else best_checkpoint(checkpoints)
        _damage(wanted, way, chance)
        yield _case(materials, run, f"{wanted.name}: {way}", mode, statuses=[0])


def _all(materials: Materials, chance: random.Random) -> Iterator[Case]:
    modes = forever(_MODES, chance)
    for way in forever(_WAYS, chance):
        run = _copy(materials)
        for path in sorted(run.glob("checkpoints/*")):
            _damage(path, way, chance)
        yield _case(materials, run, f"all checkpoints: {way}", next(modes), statuses=[1])


_MODES = ("train", "evaluate", "export")
_WAYS = (
    *((file, way) for file in _FILES for way in damage.WAYS),
    *(("manifest.json", text) for text in _JSON),
    *(("field", field) for field in _FIELDS for _ in range(2)),
    *(("field less", field) for field in _FIELDS if field != "another"),
    *(("checkpoint", way) for way in ("emptied", "a file in its place", "other variables")),
    *(("checkpoint", way) for way in ("another name", "files swapped")),
)


def _damage(path: pathlib.Path, way: tuple[str, str], chance: random.Random) -> None:
    """Damages one checkpoint."""
    what, how = way
    manifest = path / "manifest.json"
    if what in _FILES and how in damage.WAYS:
        damage.WAYS[how](path / what, chance)
    elif what in _FILES:
        manifest.write_text(how)
    elif what == "checkpoint":
        _damage_whole(path, how)
    else:
        values = json.loads(manifest.read_text())
        if what == "field":
            values[how] = chance.choice(_FIELDS[how])
        else:
            del values[how]
        manifest.write_text(json.dumps(values))


def _damage_whole(path: pathlib.Path, how: str) -> None:
    if how in ("emptied", "a file in its place"):
        shutil.rmtree(path)
        path.mkdir() if how == "emptied" else path.write_text("a file")
    elif how == "another name":
        path.rename(path.with_name(f"step-{int(path.name[-8:]) + 1:08d}"))
    else:
        index, data = (path / name for name in _FILES[:2])
        if how == "files swapped":
            index.rename(path / "spare")
            data.rename(index)
            (path / "spare").rename(data)
        else:
            data.write_bytes(bytes(reversed(data.read_bytes())))


def _copy(materials: Materials) -> pathlib.Path:
    """A copy of the run that is not yet complete."""
    run = pathlib.Path(shutil.copytree(materials.run, materials.new_folder() / "run"))
    (run / "result.json").unlink()
    return run


def _case(
    materials: Materials, run: pathlib.Path, reason: str, mode: str, statuses: list[int]
) -> Case:
    return Case(
        CHECKPOINTS,
        reason,
        TRAIN,
        [*materials.flags(run), f"--mode={mode}"],
        names=["damaged"],
        statuses=statuses,
        folder=run.parent,
    )
