# SPDX-License-Identifier: Apache-2.0
"""README's code runs as it stands."""

import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.serving import export

README = pathlib.Path(__file__).parent.parent / "README.md"


@pytest.fixture
def blocks():
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_layer_s_example_trains(blocks):
    names = {}
    exec(blocks[0], names)
    images = np.random.default_rng(0).normal(size=(8, 7, 7, 3)).astype(np.float32)
    loss = names["model"].fit(images, np.arange(8), epochs=1, verbose=0).history["loss"]
    assert np.isfinite(loss).all()


def test_the_example_of_serving_answers(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.GlobalMaxPooling2D()])
    export.save(model, "runs/digits/saved_model", (8, 8, 1))
    names = {"tf": tf, "images": np.zeros((5, 8, 8, 1), np.uint8)}
    exec(blocks[1], names)
    assert names["answer"]["class"].shape == (5,)
    assert len(blocks) == 2, "an example that no test runs"


def test_every_recipe_is_named():
    text = README.read_text(encoding="utf-8")
    configs = (README.parent / "configs").glob("*.py")
    recipes = {path.stem for path in configs if "def get_config()" in path.read_text("utf-8")}
    assert {"digits", "compare_digits"} <= recipes
    recipes = {name for name in recipes if not name.startswith("compare_")}
    assert recipes == {recipe for recipe in recipes if f"`{recipe}`" in text}
