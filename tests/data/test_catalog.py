# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from homoode_tf import data
from homoode_tf.data import catalog, storage


def test_all_data_sets_of_the_project_are_known():
    assert data.names() == (
        "digits",
        "mnist",
        "fashion_mnist",
        "svhn_cropped",
        "cifar10",
        "cifar100",
        "tiny_imagenet",
    )


@pytest.mark.parametrize("name", data.names())
def test_statistics_have_one_value_a_channel_in_units_of_0_to_1(name):
    entry = catalog.find(name)
    assert entry.name == name
    assert len(entry.mean) == len(entry.std) == entry.image_shape[2]
    assert all(0 < value < 1 for value in entry.mean + entry.std)


def test_cifar10_is_normalised_as_in_the_reference():
    entry = catalog.find("cifar10")
    assert (entry.mean, entry.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_digits_statistics_are_those_of_its_training_images(digits_dir):
    images, _ = storage.read_split(storage.open_prepared("digits", digits_dir), "train")
    entry = catalog.find("digits")
    np.testing.assert_allclose(entry.mean, np.mean(images / 255), atol=5e-5)
    np.testing.assert_allclose(entry.std, np.std(images / 255), atol=5e-5)


@pytest.mark.parametrize(
    ("name", "closest"), [("cifar_10", "cifar10"), ("MNIST", "mnist"), ("digit", "digits")]
)
def test_unknown_name_lists_the_known_ones_and_suggests_the_closest(name, closest):
    with pytest.raises(ValueError, match=rf"'{name}'.*tiny_imagenet\. Did you mean '{closest}'"):
        data.load(name)


@pytest.fixture
def own_entry(monkeypatch):
    monkeypatch.setattr(catalog, "_CATALOG", dict(catalog._CATALOG))
    return data.CatalogEntry("own", (8, 8, 1), 10, (0.3,), (0.4,))


def test_a_data_set_of_ones_own_is_loaded_by_its_name(own_entry, digits):
    asked = []
    opened = dataclasses.replace(
        own_entry, open_images=lambda *given: asked.append(given) or digits
    )
    data.register(opened)
    assert data.names()[-1] == "own"
    assert data.load("own", data_dir="here", validation_fraction=0.25) is digits
    assert asked == [("here", 0.25)]
    assert data.load(digits) is digits


def test_one_s_own_data_set_of_tfds_is_fetched_in_code(own_entry, tmp_path):
    data.register(own_entry)
    with pytest.raises(data.DataNotFoundError, match=r"data\.prepare\('own', '.*'\)"):
        data.load("own", data_dir=tmp_path)


def test_the_project_s_own_names_are_not_for_others(own_entry):
    with pytest.raises(ValueError, match="dataset 'digits' is there already"):
        data.register(dataclasses.replace(own_entry, name="digits"))


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(ValueError, match="known: digits") as error:
        data.load("qqqqqq")
    assert "Did you mean" not in str(error.value)
