# SPDX-License-Identifier: Apache-2.0
"""A folder of images goes in, a model that names its classes comes out."""

import json

import numpy as np
import pytest
import tensorflow as tf

from configs import digits
from homoode_tf import data
from homoode_tf.serving.predict import command
from homoode_tf.training import evaluate, train
from tests.data import pictures

FIELDS = {
    "dataset": "",
    "image_size": (24, 32),
    "cache_megabytes": 0,  # it streams
    "augmentation.mixup": 0.2,
    "epochs": 3,
    "batch_size": 8,
    "model.channels": 4,
    "model.head_channels": 8,
    "model.groups": 2,
    "model.stem_strides": (2, 1, 2),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The config, the folder of images, the run, and its result."""
    base = tmp_path_factory.mktemp("own")
    folder = pictures.write(base / "trees")
    before = pictures.listing(folder)
    config = digits.get_config()
    config.update_from_flattened_dict(FIELDS | {"dataset": f"folder:{folder}"})
    result = train(config, base / "run")
    assert pictures.listing(folder) == before
    return config, folder, base / "run", result


def test_the_classes_are_named_in_what_the_run_leaves(trained, capsys):
    _, folder, run, result = trained
    assert result["class_names"] == list(pictures.CLASSES)
    assert json.loads((run / "result.json").read_text())["class_names"] == result["class_names"]
    known = json.loads((run / "data.json").read_text())
    assert known["class_names"] == result["class_names"] and known["left_out"] == [pictures.DAMAGED]
    file = folder / pictures.CLASSES[1] / "001.png"
    assert (
        command.main(["--saved_model", str(run / "saved_model"), "--format=jsonl", str(file)]) == 0
    )
    answer = json.loads(capsys.readouterr().out)
    assert answer["class_name"] == pictures.CLASSES[answer["class"]]


def test_what_is_served_is_what_was_trained(trained):
    """The exported model is asked with the images that training resized and cropped."""
    _, folder, run, result = trained
    images = data.load(f"folder:{folder}", image_size=(24, 32), validation_fraction=0.1)
    ((batch, labels),) = images.evaluation_batches("test", 10)
    model = tf.saved_model.load(str(run / "saved_model" / "1"))
    answer = model.signatures["serve"](images=batch)
    accuracy = np.mean(answer["class"].numpy() == labels.numpy())
    assert accuracy == pytest.approx(result["test_accuracy"])


def test_a_run_is_evaluated_with_what_it_knows_of_its_images(trained, monkeypatch):
    config, _, run, result = trained
    monkeypatch.delattr("homoode_tf.data.folder.sums")  # measures
    assert evaluate(config, run)["test_accuracy"] == result["test_accuracy"]
    (run / "data.json").write_text("{}")
    with pytest.raises(ValueError, match=r"data\.json cannot be read.*Remove it"):
        evaluate(config, run)
