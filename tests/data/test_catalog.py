# SPDX-License-Identifier: Apache-2.0
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


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(ValueError, match="known: digits") as error:
        data.load("qqqqqq")
    assert "Did you mean" not in str(error.value)
