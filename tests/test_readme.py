# SPDX-License-Identifier: Apache-2.0
"""The code of README and of its pages runs as it stands; links lead somewhere."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from homoode_tf import models
from homoode_tf.serving import export

README = pathlib.Path(__file__).parent.parent / "README.md"
SMALL = {"channels": 4, "head_channels": 6, "groups": 2, "solver": "rk4", "num_steps": 1}


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def blocks():
    return blocks_of(README)


def test_the_first_model_trains(blocks, capsys):
    exec(blocks[0].replace("[:1437]", "[:64]").replace("[1437:]", "[-8:]"), {})
    assert "test accuracy" in capsys.readouterr().out


def test_a_run_comes_back(blocks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("runs/mine").mkdir(parents=True)
    models.build(SMALL, (8, 8, 1), 3, [0.3], [0.4]).save("runs/mine/model.keras")
    names = {}
    exec(blocks[1], names)
    assert names["model"](np.zeros([2, 8, 8, 1], np.uint8)).shape == (2, 3)
    assert len(blocks) == 2, "an example that no test runs"


def test_the_layers_page_s_example_trains():
    names = {}
    (block,) = blocks_of(README.parent / "docs" / "layers.md")
    exec(block, names)
    images = np.random.default_rng(0).normal(size=(8, 7, 7, 3)).astype(np.float32)
    loss = names["model"].fit(images, np.arange(8), epochs=1, verbose=0).history["loss"]
    assert np.isfinite(loss).all()


def test_the_first_page_s_example_runs():
    (block,) = blocks_of(README.parent / "docs" / "index.md")
    names = {}
    exec(block, names)
    assert names["model"](np.zeros([3, 16])).shape == (3, 2)


def test_the_page_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


def test_links_lead_somewhere():
    for page in [README, *README.parent.glob("docs/*.md")]:
        prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", prose):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_examples_of_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load, fit = blocks_of(README.parent / "docs" / "runs.md")
    small = fit.replace("build({}", f"build({SMALL}").replace("num_steps=400", "num_steps=2")
    small = small.replace('10, "steps_per_epoch": 40', '2, "steps_per_epoch": 1')
    names = {}
    exec(small, names)
    history = names["history"].history
    assert {"loss", "added_loss", "accuracy", "val_loss", "val_accuracy"} == history.keys()
    assert np.isfinite(list(history.values())).all()

    pathlib.Path("runs/digits").mkdir(parents=True)
    names["model"].save("runs/digits/model.keras")
    names = {"images": np.zeros((2, 8, 8, 1), np.uint8)}
    exec(load, names)
    assert names["logits"].shape == (2, 10)


def test_the_examples_of_serving(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = models.build(SMALL, (8, 8, 1), 3, [0.3], [0.4])
    export.save(model, "runs/digits/saved_model/1", (8, 8, 1), ["a", "b", "c"])
    Image.new("L", (20, 30)).save("image.png")
    ask, export_it = blocks_of(README.parent / "docs" / "serving.md")
    names = {"model": model}
    exec(ask, names)
    assert names["answer"]["class_name"].numpy()[0] in (b"a", b"b", b"c")
    exec(export_it, names)
    assert pathlib.Path("exported", "saved_model.pb").exists()


def test_every_recipe_is_named():
    text = (README.parent / "docs" / "training.md").read_text(encoding="utf-8")
    configs = (README.parent / "configs").glob("*.py")
    recipes = {path.stem for path in configs if "def get_config()" in path.read_text("utf-8")}
    assert {"digits", "compare_digits"} <= recipes
    recipes = {name for name in recipes if not name.startswith("compare_")}
    assert recipes == {recipe for recipe in recipes if f"`{recipe}`" in text}
