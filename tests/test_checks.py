# SPDX-License-Identifier: Apache-2.0
import pathlib

import pytest

from homoode_tf import data
from homoode_tf.checks import check_path
from homoode_tf.errors import InvalidValueError
from homoode_tf.report.plot.command import main as plot
from homoode_tf.serving import export
from homoode_tf.serving.predict import ServedModel
from homoode_tf.training.files.workdir import Workdir

DOORS = {
    "train": Workdir,
    "predict and convert": ServedModel,
    "export": lambda path: export.save(None, path, (4, 4, 1)),
    "data": lambda path: data.load("digits", data_dir=path),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_path_of_bytes_that_are_no_text_is_refused(tmp_path, door):
    folder = tmp_path / "a\udcff"
    folder.mkdir()
    with pytest.raises(InvalidValueError, match=r"UTF-8, got b'.*a\\xff': rename the folder"):
        DOORS[door](folder)


@pytest.mark.parametrize("kind", ["folder", "npz"])
def test_so_are_ones_own_images_there(kind):
    with pytest.raises(InvalidValueError, match="dataset must be text in UTF-8"):
        data.load(f"{kind}:pictures/\udcff")


@pytest.mark.parametrize("letter", ["[", "]", "*", "?", "\\"])
@pytest.mark.parametrize("door", DOORS)
def test_a_path_that_tensorflow_reads_as_a_pattern_is_refused(tmp_path, door, letter):
    folder = tmp_path / f"a{letter}1"
    folder.mkdir()
    with pytest.raises(InvalidValueError, match="reads as patterns; got .*: rename the folder"):
        DOORS[door](folder)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("door", ["train", "predict and convert", "export"])
def test_another_file_system_is_no_local_folder(door):
    with pytest.raises(InvalidValueError, match="must be a path of this machine, got 'gs://b/run'"):
        DOORS[door]("gs://b/run")


def test_plot_refuses_them_too(tmp_path, capsys):
    assert plot(["--workdir", str(tmp_path / "a[1]")]) == 2
    assert "reads as patterns" in capsys.readouterr().err


def test_other_paths_are_taken(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert check_path("workdir", "~/runs/a b (1), {2}") == "/home/me/runs/a b (1), {2}"
    assert check_path("workdir", pathlib.Path("runs")) == "runs"
    assert check_path("data_dir", "gs://b/data", remote=True) == "gs://b/data"
