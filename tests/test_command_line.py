# SPDX-License-Identifier: Apache-2.0
"""What a user did wrong ends as one line; a mistake of ours keeps its traceback."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest
import tensorflow as tf

import homoode_tf
from homoode_tf import command_line
from homoode_tf.command_line import find_unknown
from homoode_tf.errors import UserError
from homoode_tf.training.interruption import Interrupted

TENSORFLOW = (tf.errors.ResourceExhaustedError, tf.errors.PermissionDeniedError)


def errors_of_the_package():
    """Every class of errors that a module of the package defines."""
    found = set()
    for module in pkgutil.walk_packages(homoode_tf.__path__, "homoode_tf."):
        if not module.name.endswith("__main__"):
            for _, value in inspect.getmembers(importlib.import_module(module.name)):
                is_error = inspect.isclass(value) and issubclass(value, Exception)
                if is_error and value.__module__.startswith("homoode_tf."):
                    found.add(value)
    return found


def status_of(error):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        command_line._call(main)
    return caught.value.code


def test_every_error_of_ours_is_shown_as_one_line(capsys):
    errors = errors_of_the_package()
    names = {error.__name__ for error in errors}
    assert {"InvalidValueError", "WorkdirError", "SolverError", "FixedPointError"} <= names
    warnings = {error for error in errors if issubclass(error, Warning)}
    for error in errors - warnings - {Interrupted}:
        assert issubclass(error, UserError), error
        assert status_of(error("a disk\n  is full")) == 1
        assert capsys.readouterr().err.endswith(": a disk is full\n")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file", "data"),
        *(kind(None, None, "[[{{node x}}]] No such file [Op:Y]") for kind in TENSORFLOW),
    ],
    ids=lambda error: type(error).__name__,
)
def test_so_is_what_the_machine_refuses(capsys, error):
    assert status_of(error) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "No such file" in line and "Op:Y" not in line


@pytest.mark.parametrize("error", [TypeError, ValueError, KeyError, ZeroDivisionError])
def test_a_mistake_of_ours_is_not_caught(error):
    def main():
        raise error("a bug")

    with pytest.raises(error, match="a bug"):
        command_line._call(main)


def test_a_mistake_of_ours_ends_as_a_traceback_with_status_1(tmp_path):
    (tmp_path / "recipe.py").write_text(
        "import ml_collections\ndef get_config():\n    return ml_collections.ConfigDict()\n"
    )
    script = (
        "import pathlib\nfrom homoode_tf import command_line\n"
        "command_line.define_config('')\n"
        "command_line.run(lambda: [] + 1, pathlib.Path('recipe.py'))\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "TypeError: can only concatenate list" in done.stderr


def test_unknown_fields_name_the_known_ones():
    config = {"batch_size": 8, "model": {"channels": 64}}
    assert find_unknown(config, "model.channels") is None
    for path, message in (
        ("model.chanels", "no field 'chanels'; the known ones are channels."),
        ("batch", "no field 'batch'; the known ones are batch_size, model."),
        ("batch_size.x", "batch_size is a value"),
    ):
        assert message in find_unknown(config, path)
