# SPDX-License-Identifier: Apache-2.0
import errno
import os
import pathlib
import subprocess
import sys

import filelock
import pytest

from homoode_tf.training.files.lock import LockedError, exclusive

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Without what the packages above the lock import, TensorFlow above all.
HOLD = """
import pathlib, sys, types
for name in ("homoode_tf", "homoode_tf.training", "homoode_tf.training.files"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [name.replace(".", "/")]
from homoode_tf.training.files.lock import exclusive
with exclusive(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_holds_the_lock(tmp_path, holder):
    for _ in range(2):  # asking must not make the answer worse
        message = f"in use by process {holder.pid} on .* since"
        with pytest.raises(LockedError, match=message), exclusive(tmp_path):
            pass


def test_a_killed_process_gives_the_lock_back(tmp_path, holder):
    holder.kill()
    holder.wait()
    with exclusive(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock-holder").read_text()
    assert not (tmp_path / ".lock-holder").exists()


def test_a_holder_that_cannot_be_read_holds_the_lock_all_the_same(tmp_path, holder):
    (tmp_path / ".lock-holder").write_text("{")
    with pytest.raises(LockedError, match="in use by another process"), exclusive(tmp_path):
        pass


def test_who_holds_it_is_told_shortly_and_whatever_its_arguments_are(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "--workdir=\udcff", "x" * 5000])
    with exclusive(tmp_path):
        assert "--workdir=\\udcff" in (tmp_path / ".lock-holder").read_text(encoding="utf-8")
        with pytest.raises(LockedError, match=r"in use by process \d+ .*train.py") as caught:
            exclusive(tmp_path).__enter__()
    assert len(str(caught.value)) < 500


def test_an_error_inside_gives_the_lock_back(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path):
        raise KeyError
    with exclusive(tmp_path):
        pass


def test_the_file_in_place_of_a_lock_is_named_with_the_way_out(tmp_path, monkeypatch):
    """Of a run that died on another host, where the file system has no locks."""

    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    (tmp_path / ".lock-holder").write_text("process 17 on elsewhere since noon (train.py)")
    with filelock.SoftFileLock(tmp_path / ".lock"):
        monkeypatch.setattr("fcntl.flock", refuse)
        message = r"in use by process 17 on elsewhere .* if that process has died, remove .*\.lock"
        with pytest.raises(LockedError, match=message), exclusive(tmp_path):
            pass


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with exclusive(tmp_path):
        assert "cannot be locked" in caplog.text
    monkeypatch.setattr(
        filelock.FileLock, "acquire", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken"))
    )
    with pytest.raises(OSError, match="broken"), exclusive(tmp_path):
        pass
