# SPDX-License-Identifier: Apache-2.0
"""Damaged checkpoints of a small run, which is then resumed, evaluated or exported."""

import json
import pathlib
import random
import shutil
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.malformed import commands
from tests.malformed.conftest import examples
from tests.malformed.damage import WAYS, damage

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
_CASES = (
    *((file, way) for file in _FILES for way in WAYS),
    *(("manifest.json", text) for text in _JSON),
    *(("field", field) for field in _FIELDS for _ in range(2)),
    *(("field less", field) for field in _FIELDS if field != "another"),
    *(("checkpoint", way) for way in ("emptied", "a file in its place", "other variables")),
    *(("checkpoint", way) for way in ("another name", "files swapped")),
)


@pytest.mark.slow
@examples(few=3)
@given(
    every=st.booleans(),
    mode=st.sampled_from(["train", "evaluate", "export"]),
    way=st.sampled_from(_CASES),
    chance=st.randoms(use_true_random=True),
    as_user=st.sampled_from([False] * 49 + [True]),
)
def test_another_serves_or_the_message_says_so(materials, every, mode, way, chance, as_user):
    """Without the last another must serve and a warning say so; without the best none may."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(shutil.copytree(materials.run, pathlib.Path(folder, "run")))
        (run / "result.json").unlink()
        checkpoints = sorted((run / "checkpoints").iterdir())
        if not every:
            # What is resumed is the last, what is evaluated or exported the best.
            checkpoints = checkpoints[-1:] if mode == "train" else [_best(checkpoints)]
        for checkpoint in checkpoints:
            _damage(checkpoint, way, chance)
        before = commands.contents(run)
        outcome = commands.run(["train.py", *materials.flags(run), f"--mode={mode}"], as_user)
        refused = every or mode != "train"
        assert commands.fault(outcome, ["damaged"], [1 if refused else 0]) is None
        if refused:
            assert before.items() <= commands.contents(run).items()
        else:
            assert (run / "result.json").exists()


def _best(checkpoints: list[pathlib.Path]) -> pathlib.Path:
    """The checkpoint that is best on validation, of equals the last."""

    def accuracy(path):
        found = json.loads((path / "manifest.json").read_text())["validation_accuracy"]
        return -1.0 if found is None else found

    return max(checkpoints, key=lambda path: (accuracy(path), path))


def _damage(path: pathlib.Path, way: tuple[str, str], chance: random.Random) -> None:
    what, how = way
    manifest = path / "manifest.json"
    if what in _FILES and how in WAYS:
        damage(path / what, how, chance)
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
    index, data = (path / name for name in _FILES[:2])
    if how in ("emptied", "a file in its place"):
        shutil.rmtree(path)
        path.mkdir() if how == "emptied" else path.write_text("a file")
    elif how == "another name":
        path.rename(path.with_name(f"step-{int(path.name[-8:]) + 1:08d}"))
    elif how == "files swapped":
        index.rename(path / "spare")
        data.rename(index)
        (path / "spare").rename(data)
    else:
        data.write_bytes(bytes(reversed(data.read_bytes())))
