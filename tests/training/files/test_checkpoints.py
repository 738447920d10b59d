# SPDX-License-Identifier: Apache-2.0
import json
import logging
import os
import pathlib
import shutil
import threading
import time

import pytest
import tensorflow as tf

from homoode_tf.training.files.checkpoints import CheckpointError, Checkpoints, Record


class Saver:
    """Checkpoints of one variable, whose value is the step."""

    def __init__(self, directory, keep=2):
        self.variable = tf.Variable([0.0, 0.0])
        self.directory = directory / "checkpoints"
        self.checkpoints = Checkpoints(self.directory, {"a_0": self.variable}, keep)

    def save(self, step, accuracy=None, complete=True):
        self.variable.assign([step, step])
        self.checkpoints.save(Record(step, complete, accuracy, {"seconds": 1.5}))
        self.checkpoints.wait()

    def folder(self, step):
        return self.directory / f"step-{step:08d}"

    @property
    def names(self):
        return sorted(path.name for path in self.directory.iterdir())

    @property
    def value(self):
        return float(self.variable[0])


@pytest.fixture
def saver(tmp_path):
    return Saver(tmp_path)


@pytest.fixture
def warnings(caplog):
    # absl's logger does not propagate, so listen to it directly.
    logger = logging.getLogger("absl")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_nothing_saved_is_nothing_restored(saver):
    assert saver.checkpoints.restore_latest() is None


def test_a_round_trip(saver):
    saver.save(7, accuracy=0.25, complete=False)
    saver.variable.assign([0.0, 0.0])
    assert saver.checkpoints.restore_latest() == Record(7, False, 0.25, {"seconds": 1.5})
    assert saver.value == 7


def test_the_last_few_and_the_best_are_kept(saver):
    for step, accuracy in ((1, 0.5), (2, 0.9), (3, 0.7), (4, None), (5, 0.8)):
        saver.save(step, accuracy)
    assert saver.names == ["step-00000002", "step-00000004", "step-00000005"]
    assert saver.checkpoints.restore_best().step == 2
    assert saver.value == 2


def test_each_is_restored_by_step_and_damaged_ones_are_left_out(saver, warnings):
    for step, accuracy in [(2, 0.9), (10, None), (11, None)]:
        saver.save(step, accuracy)
    seen = [(record.step, saver.value) for record in saver.checkpoints.each()]
    assert seen == [(2, 2.0), (10, 10.0), (11, 11.0)]
    (saver.folder(10) / "manifest.json").write_text("{")
    assert [record.step for record in saver.checkpoints.each()] == [2, 11]
    assert "step-00000010" in warnings.text


def test_of_equally_good_ones_the_last_is_the_best(saver):
    for step in (1, 2, 3):
        saver.save(step, accuracy=0.5)
    assert saver.checkpoints.restore_best().step == 3


def test_a_step_saved_again_replaces_itself(saver):
    saver.save(1)
    saver.save(2, complete=False)
    saver.save(2, accuracy=0.5)
    assert saver.names == ["step-00000001", "step-00000002.1"]
    assert saver.checkpoints.restore_latest().complete


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))


def change_manifest(folder, **changes):
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**values, **changes}))


DAMAGES = {
    "data cut short": lambda folder: cut(folder / "state.data-00000-of-00001"),
    "data changed": lambda folder: flip(folder / "state.data-00000-of-00001"),
    "data missing": lambda folder: (folder / "state.data-00000-of-00001").unlink(),
    "index missing": lambda folder: (folder / "state.index").unlink(),
    "index empty": lambda folder: (folder / "state.index").write_bytes(b""),
    "manifest missing": lambda folder: (folder / "manifest.json").unlink(),
    "manifest cut short": lambda folder: cut(folder / "manifest.json"),
    "manifest garbage": lambda folder: (folder / "manifest.json").write_bytes(os.urandom(99)),
    "manifest no object": lambda folder: (folder / "manifest.json").write_text("[]"),
    "manifest of something else": lambda folder: (folder / "manifest.json").write_text("{}"),
    "manifest with another clock": lambda folder: change_manifest(folder, clock={"seconds": 9.0}),
    # As an earlier version wrote it, which knew no checksum of its own.
    "accuracy no number": lambda folder: change_manifest(
        folder, sha256=None, validation_accuracy="high"
    ),
    "step of another": lambda folder: change_manifest(folder, sha256=None, step=7),
    "complete neither": lambda folder: change_manifest(folder, sha256=None, complete=1),
    "no files": lambda folder: change_manifest(folder, sha256=None, files={}),
    "empty folder": lambda folder: (shutil.rmtree(folder), folder.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(saver, warnings, damage):
    saver.save(1)
    saver.save(2)
    DAMAGES[damage](saver.folder(2))
    assert saver.checkpoints.restore_latest().step == 1
    assert saver.value == 1
    assert "step-00000002 is damaged" in warnings.text
    # It is out of the way, but not lost.
    saver.save(3)
    assert [name.split("-")[0] for name in saver.names] == ["damaged", "step", "step"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_best_checkpoint_is_an_error_unless_the_next_best_may_do(saver, warnings, damage):
    saver.save(1, accuracy=0.5)
    saver.save(2, accuracy=0.7)
    saver.variable.assign([9.0, 9.0])
    DAMAGES[damage](saver.folder(2))
    with pytest.raises(CheckpointError, match="step-00000002 is damaged, .* give --second_best"):
        saver.checkpoints.restore_best()
    assert saver.value == 9
    assert saver.checkpoints.restore_best(second_best=True).step == 1
    assert "step-00000002 is damaged" in warnings.text
    DAMAGES[damage](saver.folder(1))
    with pytest.raises(CheckpointError, match="2 of 2 checkpoints in .* are damaged"):
        saver.checkpoints.restore_best(second_best=True)


@pytest.mark.parametrize("when", ["_read", "_restore"])
def test_a_best_checkpoint_that_a_live_run_replaces_meanwhile_is_no_damage(
    saver, monkeypatch, warnings, when
):
    saver.save(1, accuracy=0.5)
    look = getattr(Checkpoints, when)

    def replace_first(self, path, *arguments, **options):
        monkeypatch.setattr(Checkpoints, when, look)
        other = Saver(saver.directory.parent, keep=1)
        other.save(2, accuracy=0.7)
        assert not path.exists()
        return look(self, path, *arguments, **options)

    monkeypatch.setattr(Checkpoints, when, replace_first)
    assert saver.checkpoints.restore_best().step == 2
    assert saver.value == 2 and "damaged" not in warnings.text


def test_a_damaged_checkpoint_that_was_worse_is_no_matter(saver):
    saver.save(1, accuracy=0.7)
    saver.save(2, accuracy=0.5)
    cut(saver.folder(2) / "state.index")
    assert saver.checkpoints.restore_best().step == 1


def test_a_damaged_checkpoint_that_may_be_the_best_is_not_deleted(saver):
    saver.save(1, accuracy=0.7)
    (saver.folder(1) / "manifest.json").unlink()
    for step in (2, 3, 4):
        saver.save(step, accuracy=0.5)
    assert saver.names == ["step-00000001", "step-00000003", "step-00000004"]


def test_a_checkpoint_is_never_deleted_by_half(saver, monkeypatch):
    saver.save(1)
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", lambda folder, **_: (folder / "manifest.json").unlink())
        for step in (2, 3):
            saver.save(step)
    assert [name.split("-")[0] for name in saver.names] == ["new", "step", "step"]
    saver.checkpoints.restore_latest()
    assert saver.names == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("restore", ["restore_latest", "restore_best"])
def test_a_checkpoint_of_another_config_is_refused(saver, restore):
    saver.save(1, accuracy=0.5)
    other = Checkpoints(saver.directory, {"a_0": saver.variable}, 2, ["another"])
    saver.variable.assign([9.0, 9.0])
    with pytest.raises(CheckpointError, match="step-00000001 was made by another config"):
        getattr(other, restore)()
    assert saver.value == 9
    assert saver.names == ["step-00000001"]


def test_a_manifest_of_an_earlier_version_is_read(saver):
    saver.save(1, accuracy=0.5)
    manifest = saver.folder(1) / "manifest.json"
    values = json.loads(manifest.read_text())
    del values["sha256"], values["config"]
    manifest.write_text(json.dumps(values))
    assert saver.checkpoints.restore_best().step == 1
    assert saver.checkpoints.restore_latest().step == 1


def test_all_damaged_is_an_error_and_touches_nothing(saver):
    saver.save(1)
    saver.save(2)
    for step in (1, 2):
        cut(saver.folder(step) / "state.index")
    with pytest.raises(CheckpointError, match="all checkpoints in .* are damaged"):
        saver.checkpoints.restore_latest()
    assert saver.names == ["step-00000001", "step-00000002"]


def test_what_a_killed_process_left_is_no_checkpoint_and_goes_away(saver):
    saver.save(1)
    leftover = saver.directory / "new-0123"
    leftover.mkdir()
    (leftover / "state.index").touch()
    assert saver.checkpoints.restore_latest().step == 1
    saver.save(2)
    assert saver.names == ["step-00000001", "step-00000002"]


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_a_failed_write_leaves_the_earlier_ones_and_says_so(saver, monkeypatch, moment):
    saver.save(1)

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    if moment == "write":
        monkeypatch.setattr(tf.train.Checkpoint, "write", fail)
    else:
        monkeypatch.setattr(pathlib.Path, "rename", fail)
    with pytest.raises(CheckpointError, match="step 2 cannot be written.*No space left"):
        saver.save(2)
    assert saver.names == ["step-00000001"]


def test_another_model_is_not_taken_for_damage(saver, tmp_path):
    saver.save(1)
    other = Checkpoints(saver.directory, {"a_0": tf.Variable([0.0]), "b_0": tf.Variable(1.0)}, 2)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        other.restore_latest()


def test_best_wants_an_evaluated_one(saver):
    saver.save(1)
    with pytest.raises(CheckpointError, match="holds no checkpoint that was evaluated"):
        saver.checkpoints.restore_best()


def test_only_the_chief_writes(tmp_path):
    Checkpoints(tmp_path / "c", {"a": tf.Variable(1.0)}, 1, "", writes=False).save(
        Record(1, True, None, {})
    )
    assert not (tmp_path / "c").exists()


def test_the_manifest_describes_every_file(saver):
    saver.save(1)
    manifest = json.loads((saver.folder(1) / "manifest.json").read_text())
    files = {path.name for path in saver.folder(1).iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == files


def test_a_checkpoint_holds_what_was_there_when_it_was_asked_for(saver, monkeypatch):
    begin, write = threading.Event(), saver.checkpoints._write

    def slowly(record):
        assert begin.wait(30)
        write(record)

    monkeypatch.setattr(saver.checkpoints, "_write", slowly)
    saver.variable.assign([5.0, 5.0])
    saver.checkpoints.save(Record(5, True, None, {}))
    saver.variable.assign([6.0, 6.0])
    assert not saver.directory.exists()
    begin.set()
    assert saver.checkpoints.restore_latest().step == 5
    assert saver.value == 5


def test_what_goes_wrong_meanwhile_is_raised_by_the_next_call_and_once(saver):
    saver.directory.write_text("in the way")
    record = Record(1, True, None, {})
    saver.checkpoints.save(record)
    with pytest.raises(CheckpointError, match="checkpoint of step 1 cannot be written"):
        saver.checkpoints.save(record)
    saver.directory.unlink()
    saver.save(2)
    assert saver.names == ["step-00000002"]


@pytest.mark.parametrize("broken", [False, True])
def test_an_error_waits_for_what_is_being_written_and_stays_itself(
    saver, monkeypatch, warnings, broken
):
    write = saver.checkpoints._write

    def slowly(record):
        time.sleep(0.2)
        write(record)

    monkeypatch.setattr(saver.checkpoints, "_write", slowly)
    if broken:
        saver.directory.write_text("in the way")
    with pytest.raises(KeyError), saver.checkpoints:
        saver.checkpoints.save(Record(1, True, None, {}))
        raise KeyError
    if broken:
        assert "step 1 cannot be written" in warnings.text
    else:
        assert saver.names == ["step-00000001"]
