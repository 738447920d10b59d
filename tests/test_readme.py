# SPDX-License-Identifier: Apache-2.0
import pathlib
import re

import numpy as np

README = pathlib.Path(__file__).parent.parent / "README.md"


def test_the_layer_s_example_trains():
    code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[0]
    names = {}
    exec(code, names)
    images = np.random.default_rng(0).normal(size=(8, 7, 7, 3)).astype(np.float32)
    loss = names["model"].fit(images, np.arange(8), epochs=1, verbose=0).history["loss"]
    assert np.isfinite(loss).all()


def test_every_recipe_is_named():
    text = README.read_text(encoding="utf-8")
    configs = {path.stem for path in (README.parent / "configs").glob("*.py")} - {"__init__"}
    recipes = {name for name in configs if not name.startswith("compare_")}
    assert "compare_digits" in configs
    assert recipes == {recipe for recipe in recipes if f"`{recipe}`" in text}
