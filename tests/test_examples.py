# SPDX-License-Identifier: Apache-2.0
"""Each example runs on a short setting, and is short itself."""

import importlib
import pathlib

import pytest

from tests import slow

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLES = sorted(p.stem for p in (ROOT / "examples").glob("*.py") if p.stem != "__init__")
# What its `main` is given here, and the bounds of what it returns.
SHORT = {
    "classifier": (["--epochs", "1", "--images", "134"], 0.0, 1.0),
    "deq_attention": (["--epochs", "1", "--images", "96"], 0.0, 1.0),
    "deq_denoising": (["--epochs", "1", "--pieces", "32"], -30.0, 10.0),
    "fine_tuning": (["--epochs", "0.03", "--few", "170"], -1.0, 1.0),
    # The integral of a density over nearly all of the plane.
    "ffjord": (["--epochs", "1"], 0.97, 1.01),
    "flow": (["--epochs", "1"], 0.1, 1.0),
    "hard_system": ([], 0.0, 1e-10),
    "latent_ode": (["--epochs", "1"], 0.0, 10.0),
    "own_solver": ([], 1.9, 2.3),
    "serve_onnx": (["--epochs", "1"], 0.0, 1e-4),
    "spiral": (["--epochs", "1"], 0.0, 10.0),
}
NOT_DRAWN = {"own_solver"}
# Two runs from config to export; a conversion; solves of many lengths or many variables.
SLOW = {
    *("classifier", "deq_attention", "deq_denoising", "ffjord", "fine_tuning", "latent_ode"),
    *("serve_onnx", "spiral"),
}


@pytest.mark.parametrize("name", [slow(name) if name in SLOW else name for name in EXAMPLES])
def test_an_example_runs(name, tmp_path, capsys):
    arguments, low, high = SHORT[name]
    picture = tmp_path / "picture.png"
    if name not in NOT_DRAWN:
        arguments = [*arguments, "--picture", str(picture)]
    assert low <= importlib.import_module(f"examples.{name}").main(arguments) <= high
    assert capsys.readouterr().out
    assert picture.exists() == (name not in NOT_DRAWN)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_shown(name):
    assert callable(importlib.import_module(f"examples.{name}").main)
    assert len((ROOT / "examples" / f"{name}.py").read_text("utf-8").splitlines()) <= 120
    assert f"examples.{name}" in (ROOT / "docs" / "examples.md").read_text("utf-8")


def test_an_example_becomes_a_notebook(tmp_path, monkeypatch):
    """The notebook runs from its first cell to its last, the call, and has no output of its own."""
    pytest.importorskip("jupytext")
    pytest.importorskip("IPython")
    nbformat = pytest.importorskip("nbformat")
    from scripts import notebooks

    monkeypatch.chdir(tmp_path)
    notebooks.write(tmp_path)
    assert {path.stem for path in tmp_path.glob("*.ipynb")} == set(EXAMPLES)
    made = nbformat.read("hard_system.ipynb", 4)
    nbformat.validate(made)
    title, *code = made.cells
    assert title.cell_type == "markdown" and title.source.startswith("# A system of equations")
    assert not any(cell.outputs for cell in code)
    names = {"__name__": "__main__"}
    for cell in code:
        exec(cell.source, names)
    assert pathlib.Path("hard_system.png").exists()
