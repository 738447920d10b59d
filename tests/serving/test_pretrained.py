# SPDX-License-Identifier: Apache-2.0
"""`--pretrained NAME` in the place of `--saved_model DIR`, and the export of such weights."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from homoode_tf import models
from homoode_tf.errors import InvalidValueError
from homoode_tf.serving import pretrained
from homoode_tf.serving.predict import ServedModel
from homoode_tf.serving.predict.command import main


def test_the_export_answers_as_the_model(shipped, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    folder = pretrained.export("small", tmp_path / "a" / "exported")
    assert [path.name for path in folder.iterdir()] == ["1"]
    assert [path.name for path in folder.parent.iterdir()] == ["exported"]
    served = ServedModel(folder)
    assert served.class_names == tuple("0123456789")
    expected = models.pretrained("small")(images)
    np.testing.assert_allclose(served.predict(images).logits, expected, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_have_no_class(value, shipped):
    images = np.full((2, 8, 8, 1), value, np.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="is not finite"):
        models.pretrained("small").predict(images, verbose=0)


def test_an_image_is_classified_by_name(shipped, tmp_path, capsys):
    Image.new("L", (20, 30), 200).save(tmp_path / "image.png")
    assert main([str(tmp_path / "image.png"), "--pretrained", "small", "--format=jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["class_name"] in "0123456789"


@pytest.mark.slow
def test_the_command_says_nothing_but_its_answer(tmp_path):
    Image.new("L", (8, 8), 200).save(tmp_path / "image.png")
    command = ["-m", "homoode_tf.predict", "--pretrained", "digits", str(tmp_path / "image.png")]
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stderr == "" and len(done.stdout.splitlines()) == 2


def test_an_unknown_name_is_one_line_with_the_known_ones(shipped, capsys):
    assert main(["image.png", "--pretrained", "cifra"]) == 2
    said = "pretrained weights must be one of small, got 'cifra'."
    assert capsys.readouterr().err == f"python -m homoode_tf.predict: {said}\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--pretrained", "digits", "--saved_model", "folder"], "not allowed with"),
        ([], "one of the arguments --saved_model --pretrained is required"),
    ],
)
def test_it_is_one_model_that_is_asked(flags, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["image.png", *flags])
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_nothing_is_written_over(shipped, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    for path in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(InvalidValueError, match="is not empty: give a new folder"):
            pretrained.export("small", path)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"
