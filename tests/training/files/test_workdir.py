# SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import tempfile

import pytest

from homoode_tf.layers import ZerosInitialPoint, initial_point
from homoode_tf.training.files.lock import exclusive
from homoode_tf.training.files.workdir import Workdir, WorkdirError, default_name, digest
from homoode_tf.training.settings import TrainingSettings
from tests.training import fakes


def test_a_config_opens_its_own_folder_again(tmp_path):
    folder = Workdir(tmp_path / "a" / "b")
    folder.open(fakes.config())
    folder.claim(fakes.config())
    folder.open(fakes.config())


def test_tuples_and_lists_are_the_same_config(tmp_path):
    folder = Workdir(tmp_path)
    folder.claim({"model": {"strides": (1, 2)}})
    folder.open({"model": {"strides": [1, 2]}})


def test_another_config_is_refused_and_each_difference_named(tmp_path):
    folder = Workdir(tmp_path)
    folder.claim({"seed": 1, "optimizer": {"name": "adam"}, "old": 3, "same": 5})
    with pytest.raises(WorkdirError) as caught:
        folder.open({"seed": 2, "optimizer": {"name": "sgd"}, "new": None, "same": 5})
    message = str(caught.value)
    assert "seed is 1 there and 2 here" in message
    assert 'optimizer.name is "adam" there and "sgd" here' in message
    assert "old is 3 there and absent here" in message
    assert "new is absent there and null here" in message
    assert "same" not in message


def test_of_many_differences_the_first_are_named_and_shortly(tmp_path):
    folder = Workdir(tmp_path)
    folder.config.write_text(json.dumps({f"a{k}": "x" * 5000 for k in range(90)}))
    with pytest.raises(WorkdirError, match=r"a0 is .*\.\.\. there .* more fields of") as caught:
        folder.open(fakes.config())
    assert len(str(caught.value)) < 1200
    folder.config.write_text('{"epochs": "many", "model": 3}')
    with pytest.raises(WorkdirError, match="made by another config"):
        folder.open(fakes.config())


def test_a_field_that_came_later_counts_as_its_default(tmp_path):
    folder = Workdir(tmp_path)
    old = {"seed": 1, "model": {"channels": 4}, "optimizer": {"name": "sgd"}}
    folder.claim(old)
    folder.check({**old, "jit_compile": False, "model": {"channels": 4, "max_num_steps": 100_000}})
    with pytest.raises(WorkdirError) as caught:
        folder.check({**old, "jit_compile": True, "model": {"channels": 4, "max_num_steps": 16}})
    message = str(caught.value)
    assert "jit_compile is false there and true here" in message
    assert "model.max_num_steps is 100000 there and 16 here" in message
    assert "optimizer" not in message


def test_parts_of_ones_own_are_held_as_what_makes_them(tmp_path):
    folder = Workdir(tmp_path)
    config = {"dataset": fakes.FakeImages(), "model": {"initial_point": ZerosInitialPoint()}}
    folder.claim(config)
    folder.check(config)
    settings = TrainingSettings.from_config(folder.read_config())
    assert settings.dataset == "fake"
    assert isinstance(initial_point.get(settings.model.initial_point), ZerosInitialPoint)
    with pytest.raises(WorkdirError, match="initial_point"):
        folder.check({"dataset": "fake"})


def test_a_broken_config_file_is_named(tmp_path):
    folder = Workdir(tmp_path)
    folder.config.write_text("{")
    with pytest.raises(WorkdirError, match="config.json cannot be read"):
        folder.open({})


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkdirError, match="workdir .*file cannot be written"):
        Workdir(tmp_path / "file").open({})


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", deny)
    with pytest.raises(WorkdirError, match="cannot be written: Permission denied"):
        Workdir(tmp_path).open({})


def test_checking_wants_a_run(tmp_path):
    with pytest.raises(WorkdirError, match="holds no run: .*config.json is missing"):
        Workdir(tmp_path).check({})


def test_the_result_says_whether_a_run_is_complete(tmp_path):
    folder = Workdir(tmp_path)
    assert folder.read_result() is None
    folder.write_result({"test_accuracy": 0.5}, made_by="")
    assert folder.read_result() == {"test_accuracy": 0.5}
    assert json.loads((tmp_path / "result.json").read_text())["test_accuracy"] == 0.5


def test_a_result_is_taken_for_that_of_its_own_config_alone(tmp_path):
    folder = Workdir(tmp_path)
    mine, other = fakes.config(), fakes.config(seed=7)
    folder.write_result({"steps": 10}, digest(mine))
    assert folder.read_result(mine) == folder.read_result() == {"steps": 10}
    with pytest.raises(WorkdirError, match="another config.* missing config.json"):
        folder.read_result(other)
    folder.claim(other)  # It says that it is the other's, and the result that it is not.
    for config in (mine, other):
        with pytest.raises(WorkdirError, match=r"made by another config"):
            folder.open(config)
            folder.read_result(config)


def test_a_result_of_an_earlier_version_is_that_of_its_checkpoints(tmp_path):
    folder = Workdir(tmp_path)
    mine, other = fakes.config(), fakes.config(seed=7)
    folder.result.write_text('{"steps": 10}')
    with pytest.raises(WorkdirError, match="or by none that is known"):
        folder.read_result(mine)
    folder.claim(mine)
    assert folder.read_result(mine) == {"steps": 10}
    manifest = {"step": 3, "complete": True, "validation_accuracy": None, "clock": {}}
    checkpoint = folder.checkpoints / "step-00000003"
    checkpoint.mkdir(parents=True)
    manifest |= {"config": digest(mine), "files": {"state": {}}}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    folder.config.unlink()
    assert folder.read_result(mine) == {"steps": 10}
    with pytest.raises(WorkdirError, match="made by another config"):
        folder.read_result(other)


RUNS_FILES = ["config.json.new", "data.json", "result.json", "metrics.jsonl", "model.keras"]
RUNS_FILES += ["new.keras", "saved_model/1/x", "saved_model.old/x", "events/x", "checkpoints/x"]
RUNS_FILES += ["saved_model.new", "data.json.new", "checkpoints/step-00000001/x"]


@pytest.mark.parametrize("name", RUNS_FILES)
def test_what_no_run_has_made_is_not_written_over(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("of my own")
    with pytest.raises(WorkdirError, match=f"holds {name.partition('/')[0]}, .* another --workdir"):
        Workdir(tmp_path).open(fakes.config())
    assert path.read_text() == "of my own"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_other_files_and_empty_folders_are_no_matter(tmp_path):
    for name in ("checkpoints", "events", "pictures"):
        (tmp_path / name).mkdir()
    (tmp_path / "pictures" / "log.txt").touch()
    Workdir(tmp_path).open(fakes.config())


def test_a_run_that_was_killed_in_its_first_moments_begins_again(tmp_path, monkeypatch):
    folder = Workdir(tmp_path)
    with exclusive(tmp_path):
        holder = (tmp_path / ".lock-holder").read_text()
    (tmp_path / ".lock-holder").write_text(holder)  # A kill leaves it, and this:
    (tmp_path / "config.json.new").write_text("{")
    folder.open(fakes.config())
    (tmp_path / "data.json").write_text("{")  # of an earlier version
    folder.open(fakes.config())
    (tmp_path / "model.keras").write_text("of my own")
    with pytest.raises(WorkdirError, match=r"holds model\.keras, "):
        folder.open(fakes.config())


@pytest.mark.parametrize("name", ["checkpoints", "events", "events/train", "saved_model"])
@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_a_file_in_the_place_of_a_folder_is_refused_at_once(tmp_path, name, kind):
    folder = Workdir(tmp_path)
    folder.claim(fakes.config())
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch() if kind == "file" else path.symlink_to("nowhere")
    for look in (folder.open, folder.check):
        with pytest.raises(WorkdirError, match=f"{name} is no folder"):
            look(fakes.config())


@pytest.mark.parametrize("name", ["model.keras", "metrics.jsonl", "result.json", "data.json"])
def test_a_folder_in_the_place_of_a_file_is_refused_at_once(tmp_path, name):
    folder = Workdir(tmp_path)
    folder.claim(fakes.config())
    (tmp_path / name).mkdir()
    with pytest.raises(WorkdirError, match=f"{name} is a folder"):
        folder.open(fakes.config())


def test_a_file_system_that_is_full_asks_for_room(tmp_path, monkeypatch):
    def fill(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", fill)
    with pytest.raises(WorkdirError, match="make room"):
        Workdir(tmp_path).open({})
    monkeypatch.setattr(os, "fsync", fill)
    with (
        pytest.raises(WorkdirError, match="make room"),
        Workdir(tmp_path).explaining_a_full_disk(),
    ):
        Workdir(tmp_path).claim({})


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_a_limit_on_the_size_of_files_is_named(tmp_path, kind):
    with (
        pytest.raises(WorkdirError, match=r"takes no more: .*File too large: .*ulimit -f"),
        Workdir(tmp_path).explaining_a_full_disk(),
    ):
        raise kind(f"cannot write: {os.strerror(errno.EFBIG)}")


@pytest.mark.parametrize("damage", ["empty", "edited", "no object", "nested"])
@pytest.mark.parametrize("name", ["config", "result"])
def test_a_record_that_is_not_what_was_written_says_what_to_do(tmp_path, name, damage):
    folder = Workdir(tmp_path)
    folder.claim({"steps": 10})
    folder.write_result({"steps": 10}, made_by="")
    path = getattr(folder, name)
    text = path.read_text()
    edited = {"empty": "", "no object": "3", "nested": "[" * 100_000}
    path.write_text(edited.get(damage, text.replace("10", "20")))
    with pytest.raises(WorkdirError, match=f"{name}.json cannot be read: .* remove it|Remove it"):
        getattr(folder, f"read_{name}")()
    # As an earlier version has written it.
    path.write_text('{"steps": 20}')
    assert getattr(folder, f"read_{name}")() == {"steps": 20}


def test_a_result_is_json_for_everybody(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        Workdir(tmp_path).write_result({"test_loss": float("nan")}, made_by="")
    assert list(tmp_path.iterdir()) == []


def test_a_digest_is_that_of_the_fields_that_are_not_at_their_defaults():
    config = fakes.config()
    plain = json.loads(json.dumps(config.to_dict()))
    # A field that an earlier version did not know is one at its default.
    assert digest(config) == digest({**plain, "jit_compile": False})
    assert digest(config) != digest({**plain, "jit_compile": True})
    assert digest(config) != digest(fakes.config(seed=2))


def test_what_killed_runs_left_is_removed(tmp_path):
    folder = Workdir(tmp_path)
    folder.claim({})
    for name in (".writable-17", "config.json.new", "metrics.jsonl.new"):
        (tmp_path / name).touch()
    for name in ("saved_model.new", "saved_model.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    (tmp_path / "new.keras").symlink_to("nowhere")
    (tmp_path / "data.json.new").mkdir()
    folder.clean()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "saved_model"]
    assert (folder.saved_model / "saved_model.old").exists()


@pytest.mark.parametrize("kind", ["file", "link to a file", "link to a folder", "dangling link"])
def test_leftovers_of_any_type_are_no_matter_and_links_are_not_followed(tmp_path, kind):
    folder, elsewhere = Workdir(tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.open({})
    folder.claim({})
    (elsewhere / "file").write_text("of my own")
    target = {"link to a file": elsewhere / "file", "link to a folder": elsewhere}.get(kind)
    for name in ("saved_model.new", "saved_model.old", "new.keras", "model.keras"):
        path = folder.directory / name
        path.touch() if kind == "file" else path.symlink_to(target or "nowhere")
    if kind == "link to a folder":
        folder.saved_model.symlink_to(elsewhere)
        folder.model.unlink()
    for _ in range(2):
        folder.replace_saved_model(lambda path: (path.mkdir(), (path / "new").touch()))
        folder.replace_model(lambda path: path.write_text("new"))
    folder.clean()
    left = {path.name for path in folder.directory.iterdir()}
    assert left == {"config.json", "saved_model", "model.keras"}
    assert [path.name for path in folder.saved_model.iterdir()] == ["new"]
    assert folder.model.read_text() == "new"
    assert [path.read_text() for path in elsewhere.iterdir()] == ["of my own"]


def test_a_failed_export_leaves_the_old_one(tmp_path):
    folder = Workdir(tmp_path)

    def write(path):
        path.mkdir()
        (path / "model").write_text("first")

    def fail(path):
        path.mkdir()
        raise OSError("disk full")

    folder.replace_saved_model(write)
    with pytest.raises(OSError, match="disk full"):
        folder.replace_saved_model(fail)
    assert (folder.saved_model / "model").read_text() == "first"
    folder.replace_saved_model(write)


def test_the_default_folder_of_images_in_bytes_that_are_no_text_is_text():
    assert default_name("digits", {"dataset": "folder:\udcff"}).isascii()
