# SPDX-License-Identifier: Apache-2.0
"""Weights that ship, as a start by their name; test_coming_back.py starts with those of runs."""

import shutil

import keras
import numpy as np
import pytest

from homoode_tf import models
from homoode_tf.errors import InvalidValueError
from homoode_tf.training.fine_tuning import start_from
from tests import shipped as small


@pytest.fixture
def model():
    """Another model than the one that ships, with the same classes."""
    keras.utils.set_random_seed(1)
    names = tuple("0123456789")
    return models.build(small.MODEL, (8, 8, 1), 10, [0.1], [0.2], class_names=names)


def test_a_name_stands_for_the_weights_that_ship(shipped, model):
    said = start_from(model, "small")
    assert said == f"Starting with the weights of {shipped.folder / 'small.keras'}."
    for mine, theirs in zip(
        model.task_variables, models.pretrained("small").task_variables, strict=True
    ):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), mine.path)
    assert (model.mean, model.std) == ((0.1,), (0.2,))


def test_a_path_comes_first(shipped, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    with pytest.raises(InvalidValueError, match=r"small/model.keras does not exist: give the"):
        start_from(model, "small")
    shutil.copy(shipped.folder / "small.keras", tmp_path / "small" / "model.keras")
    assert start_from(model, "small") == "Starting with the weights of small."


def test_what_is_neither_is_refused_with_the_names(shipped, model):
    expected = r"config.init_from: .* got 'smal'\. Pretrained are: small\."
    with pytest.raises(InvalidValueError, match=expected):
        start_from(model, "smal")
