# SPDX-License-Identifier: Apache-2.0
import pathlib

import pytest

from homoode_tf import recipes
from homoode_tf.errors import InvalidValueError

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def test_a_name_stands_for_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipes.find("cifar10") == str(CONFIGS / "cifar10.py")
    assert recipes.find("configs/cifar10.py") == str(CONFIGS / "cifar10.py")
    assert recipes.find("base:mnist") == f"{CONFIGS / 'base.py'}:mnist"
    assert "family" not in recipes.names() and "compare_digits" in recipes.names()


def test_a_file_of_ones_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    (tmp_path / "cifar10").touch()
    assert recipes.find("mine.py:3") == "mine.py:3"
    assert recipes.find("cifar10") == "cifar10"


@pytest.mark.parametrize("name", ["cifar", "mine/cifar10.py", "cifar.py:3", "", "family"])
def test_what_is_neither_is_refused_with_the_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValueError, match=f"--config={name}: no such .* digits, ") as caught:
        recipes.find(name)
    assert str(caught.value).endswith("Did you mean cifar10?") == ("cifar" in name)
