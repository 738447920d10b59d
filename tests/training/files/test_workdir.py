# SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import tempfile

import pytest

from homoode_tf.layers import ZerosInitialPoint, initial_point
from homoode_tf.training.files.workdir import Workdir, WorkdirError, digest
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
    folder.write_result({"test_accuracy": 0.5})
    assert folder.read_result() == {"test_accuracy": 0.5}
    assert json.loads((tmp_path / "result.json").read_text())["test_accuracy"] == 0.5


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


@pytest.mark.parametrize("damage", ["empty", "edited", "no object", "nested"])
@pytest.mark.parametrize("name", ["config", "result"])
def test_a_record_that_is_not_what_was_written_says_what_to_do(tmp_path, name, damage):
    folder = Workdir(tmp_path)
    folder.claim({"steps": 10})
    folder.write_result({"steps": 10})
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
        Workdir(tmp_path).write_result({"test_loss": float("nan")})
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
    folder.clean()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "saved_model"]
    assert (folder.saved_model / "saved_model.old").exists()


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
