# SPDX-License-Identifier: Apache-2.0
"""What a user did wrong ends as one line; a mistake of ours keeps its traceback."""

import errno
import importlib
import inspect
import os
import pkgutil

import pytest
import tensorflow as tf

import homoode_tf
from homoode_tf import command_line, disk
from homoode_tf.errors import UserError
from homoode_tf.training.interruption import Interrupted
from tests.malformed import commands

MISTAKE = """
import ml_collections, pathlib
from absl import flags
from homoode_tf import command_line
pathlib.Path("recipe.py").write_text("from ml_collections import ConfigDict as get_config")
own = flags.FlagValues()
command_line.define_config(own, "")
command_line.run(lambda: [] + 1, own, "recipe.py")
"""


def errors_of_the_package():
    """Every class of errors that a module of the package defines."""
    for module in pkgutil.walk_packages(homoode_tf.__path__, "homoode_tf."):
        if not module.name.endswith("__main__"):
            for _, kind in inspect.getmembers(
                importlib.import_module(module.name), inspect.isclass
            ):
                if issubclass(kind, Exception) and kind.__module__.startswith("homoode_tf."):
                    yield kind


def call(error):
    def main():
        raise error

    command_line._call(main)


def check_one_line(capsys, error, text):
    with pytest.raises(SystemExit) as caught:
        call(error)
    assert caught.value.code == 1
    assert capsys.readouterr().err.endswith(f": {text}\n")


def test_every_error_of_ours_is_shown_as_one_line(capsys):
    errors = {kind for kind in errors_of_the_package() if not issubclass(kind, Warning)}
    names = {error.__name__ for error in errors}
    assert {"InvalidValueError", "WorkdirError", "SolverError", "FixedPointError"} <= names
    for kind in errors - {Interrupted}:
        assert issubclass(kind, UserError), kind
        error = kind.__new__(kind)
        Exception.__init__(error, "a disk\n  is full")  # some ask for more than a text
        check_one_line(capsys, error, "a disk is full")


def test_so_is_what_the_machine_refuses(capsys):
    check_one_line(capsys, OSError("no such file"), "no such file")
    for kind in (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError):
        check_one_line(capsys, kind(None, None, "no such file\n [[{{node x}}]]"), "no such file")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_is_told_whatever_library_says_so(capsys, number):
    words = os.strerror(number)
    for error in (
        tf.errors.OutOfRangeError(None, None, f"/w/x; {words}\n [[{{node x}}]]"),
        RuntimeError(f"/w/x; {words}"),
    ):
        text = disk.remedy(error, f"/w/x; {words}")
        check_one_line(capsys, error, text)
        assert text.endswith("try again")


def test_an_interruption_says_no_more_than_is_true_of_every_mode(capsys):
    with pytest.raises(SystemExit) as caught:
        call(KeyboardInterrupt())
    assert caught.value.code == 130
    assert capsys.readouterr().err.endswith(": stopped by SIGINT\n")


@pytest.mark.parametrize("kind", [TypeError, ValueError, KeyError, ZeroDivisionError])
def test_a_mistake_of_ours_is_not_caught(kind):
    with pytest.raises(kind, match="a bug"):
        call(kind("a bug"))


def test_a_mistake_of_ours_ends_as_a_traceback_with_status_1(tmp_path):
    (tmp_path / "mistake.py").write_text(MISTAKE)
    done = commands.run(["mistake.py"], root=tmp_path)
    assert done.status == 1
    assert "Traceback (most recent call last)" in done.errors
    assert "TypeError: can only concatenate list" in done.errors


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("model.chanels", "no field 'chanels'; the known ones are channels."),
        ("batch", "no field 'batch'; the known ones are batch_size, model."),
        ("batch_size.x", "batch_size is a value"),
    ],
)
def test_unknown_fields_name_the_known_ones(path, message):
    config = {"batch_size": 8, "model": {"channels": 64}}
    assert command_line.find_unknown(config, "model.channels") is None
    assert message in command_line.find_unknown(config, path)
