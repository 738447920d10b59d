# SPDX-License-Identifier: Apache-2.0
import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import data
from homoode_tf.data import catalog
from homoode_tf.data.settings import DataSettings


@pytest.mark.parametrize("name", ["flowers", "folders:x", "NPZ:x"])
def test_an_unknown_name_tells_the_three_ways(name):
    with pytest.raises(ValueError, match=r"folder:PATH .*npz:FILE or tfds:NAME.*known: digits"):
        data.load(name)


def test_a_path_without_its_prefix(tmp_path):
    with pytest.raises(ValueError, match=f"Did you mean 'folder:{tmp_path}'"):
        data.load(str(tmp_path))
    (tmp_path / "own.npz").touch()
    with pytest.raises(ValueError, match=f"Did you mean 'npz:{tmp_path}/own.npz'"):
        data.load(str(tmp_path / "own.npz"))


def test_a_dataset_in_a_config_hears_of_its_door():
    dataset = tf.data.Dataset.range(3)
    with pytest.raises(TypeError, match=r"tf\.data\.Dataset goes through data\.from_datasets"):
        DataSettings(dataset)


def test_a_size_that_an_object_does_not_have(digits):
    assert data.load(digits, image_size=(8, 8)) is digits
    with pytest.raises(ValueError, match=r"image_size \(16, 16\) is not that of the data set"):
        data.load(digits, image_size=(16, 16))


def test_a_name_of_the_catalog_in_another_size(digits_dir, digits):
    larger = data.load("digits", data_dir=digits_dir, image_size=(16, 12))
    assert larger.info.image_shape == (16, 12, 1) and larger.info.mean == digits.info.mean
    given = {"seed": 0, "num_steps": 1}
    ((images, labels),) = larger.train_batches(64, **given)
    ((small, same),) = digits.train_batches(64, **given)
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_array_equal(images, data.resize_and_crop(small, (16, 12), 1))


def test_normalization_is_as_it_was_asked_for(digits_dir, digits, tmp_path, monkeypatch):
    told = dataclasses.replace(catalog.find("digits"), mean=(0.5,))
    monkeypatch.setitem(catalog._CATALOG, "digits", told)
    assert data.load("digits", data_dir=digits_dir).info.mean == (0.5,)
    measured = data.load("digits", data_dir=digits_dir, normalization="measured").info
    assert (measured.mean, measured.std) == (digits.info.mean, digits.info.std)
    with pytest.raises(ValueError, match=r"figures of 3 channels, .* have 1: set config"):
        data.load("digits", data_dir=digits_dir, normalization="imagenet")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "own.npz", x_train=pixels, y_train=np.arange(20) % 2)
    own = data.load(f"npz:{tmp_path}/own.npz", normalization="imagenet").info
    assert (own.mean, own.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with pytest.raises(ValueError, match="digits brings its mean and deviation along"):
        data.load(digits, normalization="measured")


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("folder:/a/b c/", "b c"),
        ("npz:x/y.npz", "y"),
        ("tfds:a/b:1.0.0", "a_b_1.0.0"),
        ("mnist", "mnist"),
    ],
)
def test_short_names(dataset, name):
    assert data.short_name(dataset) == name


def test_the_page_on_ones_own_data(tmp_path, monkeypatch):
    page = (pathlib.Path(__file__).parents[2] / "docs" / "own_data.md").read_text()
    monkeypatch.chdir(tmp_path)
    exec(page.split("```python\n")[1].split("```")[0], {})
    folder, arrays = (data.load(name) for name in ("folder:pictures", "npz:pictures.npz"))
    assert folder.info.class_names[3] == "digit 3" and arrays.info.class_names[3] == "3"
    assert folder.info.num_test == arrays.info.num_test == 180
    for one, other in zip(
        folder.train_batches(64, seed=0, num_steps=3),
        arrays.train_batches(64, seed=0, num_steps=3),
        strict=True,
    ):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
