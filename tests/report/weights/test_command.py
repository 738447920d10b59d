# SPDX-License-Identifier: Apache-2.0
"""`python -m homoode_tf.weights` from its arguments to what it prints."""

import pytest

from homoode_tf import models
from homoode_tf.report.weights import command, measure
from homoode_tf.report.weights.command import main
from tests import shipped as small


def test_what_is_measured_is_found_again(shipped, monkeypatch, capsys):
    folder, card, data_dir = shipped
    monkeypatch.setattr(measure, "NOISE", (0.1,))
    images = measure.images_of(card, data_dir)
    found = measure.measure(models.pretrained("small"), images)
    assert (found["validation_examples"], found["test_examples"]) == (144, 360)
    pixels, labels = next(images.evaluation_batches("test", 360).as_numpy_iterator())
    given = models.pretrained("small")(pixels).numpy().argmax(-1)
    assert found["test_accuracy"] == pytest.approx((given == labels).mean(), abs=1 / 359)
    assert sum(map(sum, found["confusion"])) == 360

    small.write_card(folder, card, measured=found)
    flags = ["--evaluate", "--data_dir", str(data_dir)]
    assert main(flags) == 0
    assert "as its card says: validation" in capsys.readouterr().out
    monkeypatch.setattr(command, "measure", lambda *_: {**found, "noise": {"0.1": 2.0}})
    assert main(["small", *flags]) == 1
    assert "NOT as its card says: validation" in capsys.readouterr().out


def test_the_names_are_listed(shipped, capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("small: HomoODE of ")
    assert "8x8x1 images of digits; test accuracy 40.00% (360 images)" in out


def test_data_that_are_not_there_are_named(shipped, capsys):
    small.write_card(shipped.folder, shipped.card, dataset="mnist")
    assert main(["--evaluate", "--data_dir", str(shipped.data_dir)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("small: dataset 'mnist' is not in data_dir")
    assert "python -m homoode_tf.data mnist" in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["cifra"], "pretrained weights must be one of small, got 'cifra'."),
        (["small", "small", "--export", "somewhere"], "--export takes one NAME, got 2"),
        (["small", "--export", "."], "is not empty: give a new folder"),
    ],
)
def test_what_stops_the_command_is_one_line(shipped, capsys, monkeypatch, tmp_path, flags, said):
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m homoode_tf.weights: ") and said in line


def test_evaluating_and_exporting_are_two_commands(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["digits", "--evaluate", "--export", "folder"])
    assert "not allowed with" in capsys.readouterr().err


def test_an_export(shipped, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("homoode_tf.serving.export.save", lambda model, path, *_: path.mkdir())
    assert main(["small", "--export", str(tmp_path / "exported")]) == 0
    assert (tmp_path / "exported" / "1").is_dir()
    assert "small was exported to" in capsys.readouterr().out
