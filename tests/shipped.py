# SPDX-License-Identifier: Apache-2.0
"""Writes small weights as those that ship are."""

import hashlib
import json

import keras

from homoode_tf import data, models
from homoode_tf.models import weights

NAME = "small"
MODEL = {"channels": 4, "head_channels": 6, "groups": 2, "solver": "rk4", "num_steps": 1}
# As if it had been measured.
MEASURED = {
    "validation_examples": 144,
    "validation_accuracy": 0.5,
    "test_examples": 360,
    "test_accuracy": 0.4,
    "noise": {"0.1": 0.3},
}


def write(folder, data_dir):
    """Writes an untrained classifier of the digits with a card, and returns the card."""
    info = data.load("digits", data_dir=data_dir).info
    keras.utils.set_random_seed(0)
    shape, names = info.image_shape, info.class_names
    model = models.build(MODEL, shape, info.num_classes, info.mean, info.std, class_names=names)
    path = folder / f"{NAME}.keras"
    model.save(path)
    card = weights.Card(
        dataset="digits",
        licence="free",
        image_shape=shape,
        class_names=names,
        mean=info.mean,
        std=info.std,
        layer="HomoODE",
        parameters=model.task_parameters,
        initial_point_parameters=model.initial_point_parameters,
        recipe={"validation_fraction": 0.1},
        seed=0,
        steps=0,
        precision="float32",
        commit="none",
        measured=MEASURED,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    write_card(folder, card)
    return card


def write_card(folder, card, **changes):
    """Writes a card, with some fields changed."""
    (folder / f"{NAME}.json").write_text(json.dumps({**vars(card), **changes}), "utf-8")
