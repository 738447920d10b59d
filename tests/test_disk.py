# SPDX-License-Identifier: Apache-2.0
import errno
import os
import pathlib

import pytest
import tensorflow as tf

from homoode_tf import disk


@pytest.fixture
def folders(tmp_path):
    """A folder with files of an old version, and one with those of a new one."""
    for name, text in (("new", "second"), ("folder", "first")):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "file").write_text(text)
    return tmp_path / "new", tmp_path / "folder"


def text(folder):
    return (folder / "below" / "file").read_text()


def names(folder):
    return sorted(path.name for path in folder.parent.iterdir())


def refuse(*_, **__):
    raise OSError(errno.EIO, "killed")


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_takes_the_place_of_another(folders, monkeypatch, exchanges):
    new, folder = folders
    if exchanges:
        # There is no moment without it: nothing is moved out of the way.
        monkeypatch.setattr(pathlib.Path, "rename", refuse)
    else:
        monkeypatch.setattr(disk, "_exchange", lambda *_: False)
    disk.replace_folder(new, folder)
    assert text(folder) == "second"
    assert names(folder) == ["folder"]


def test_a_folder_takes_a_free_place(folders):
    new, folder = folders
    disk.replace_folder(folder, folder.with_name("free"))
    assert names(new) == ["free", "new"]


def test_it_is_on_the_disk_before_it_has_its_name(folders, monkeypatch):
    new, folder = folders
    synced = []
    monkeypatch.setattr(disk, "sync", lambda path: synced.append((path.name, text(folder))))
    disk.replace_folder(new, folder)
    assert {*synced[:-1]} == {("file", "first"), ("below", "first"), ("new", "first")}


@pytest.mark.parametrize("done", [1, 2])
def test_what_was_killed_in_between_is_recovered(folders, monkeypatch, done):
    """Without an exchange: after one of its steps, and after both."""
    new, folder = folders
    steps = [pathlib.Path.rename] * done + [refuse]
    monkeypatch.setattr(disk, "_exchange", lambda *_: False)
    monkeypatch.setattr(pathlib.Path, "rename", lambda *paths: steps.pop(0)(*paths))
    monkeypatch.setattr(disk.shutil, "rmtree", refuse)
    with pytest.raises(OSError, match="killed"):
        disk.replace_folder(new, folder)
    monkeypatch.undo()
    disk.recover_folder(folder)
    assert text(folder) == ["first", "second"][done - 1]
    assert "folder.old" not in names(folder)


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("kind", ["file", "link to a folder", "dangling link"])
def test_a_folder_takes_the_place_of_what_is_none(folders, monkeypatch, kind, exchanges):
    new, folder = folders
    place = folder.with_name("place")
    place.touch() if kind == "file" else place.symlink_to(folder if "to" in kind else "nowhere")
    if not exchanges:
        monkeypatch.setattr(disk, "_exchange", lambda *_: False)
    disk.replace_folder(new, place)
    assert text(place) == "second" and not place.is_symlink()
    assert text(folder) == "first"
    assert names(folder) == ["folder", "place"]


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch, there):
    path = tmp_path / "file"
    if there:
        disk.write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="killed"):
        disk.write_atomically(path, "new")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"] * there


def test_a_limit_on_the_size_of_files_is_told_from_a_full_disk():
    words = os.strerror(errno.EFBIG)
    error = tf.errors.OutOfRangeError(None, None, f"file; {words}")
    assert disk.is_full(error)
    assert "ulimit -f" in disk.remedy(error) and "make room" not in disk.remedy(error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_asks_for_room(number):
    words = os.strerror(number)
    for error in (OSError(number, words), tf.errors.UnknownError(None, None, f"file; {words}")):
        assert words in disk.remedy(error) and "make room" in disk.remedy(error)
    assert disk.remedy(error, disk.remedy(error)).count("make room") == 1
    assert disk.remedy(OSError(errno.EIO, "broken")) == "broken"
