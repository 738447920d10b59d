# SPDX-License-Identifier: Apache-2.0
"""Each example runs on a short setting, and is short itself."""

import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLES = sorted(p.stem for p in (ROOT / "examples").glob("*.py") if p.stem != "__init__")
SHORT = {"spiral": ["--epochs", "1"], "ffjord": ["--epochs", "1"]}
DRAWN = {"spiral", "hard_system", "ffjord"}
# What its `main` returns is within these bounds.
BOUNDS = {
    "spiral": (0.0, 10.0),
    "own_solver": (1.9, 2.3),
    "hard_system": (0.0, 1e-10),
    "ffjord": (0.97, 1.01),  # the integral of a density over nearly all of the plane
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name, tmp_path, capsys):
    arguments = SHORT.get(name, [])
    picture = tmp_path / "picture.png"
    if name in DRAWN:
        arguments = [*arguments, "--picture", str(picture)]
    low, high = BOUNDS[name]
    assert low <= importlib.import_module(f"examples.{name}").main(arguments) <= high
    assert capsys.readouterr().out
    assert picture.exists() == (name in DRAWN)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_shown(name):
    assert len((ROOT / "examples" / f"{name}.py").read_text("utf-8").splitlines()) <= 120
    assert f"examples.{name}" in (ROOT / "docs" / "examples.md").read_text("utf-8")
