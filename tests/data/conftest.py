# SPDX-License-Identifier: Apache-2.0
"""Small data sets on disk, of the layout that the real ones have."""

import pytest
import tensorflow_datasets as tfds

from homoode_tf import data
from tests.data.numbered import CIFAR10_TEST, CIFAR10_TRAIN, numbered_images


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    data.prepare("digits", folder)
    return folder


@pytest.fixture(scope="session")
def digits(digits_dir):
    return data.load("digits", data_dir=digits_dir)


@pytest.fixture(scope="session")
def cifar10_dir(tmp_path_factory):
    """CIFAR-10 in small: the official builder, fed with numbered images."""
    folder = tmp_path_factory.mktemp("cifar10")

    def examples(first, count):
        for number, image in enumerate(numbered_images(first, count), start=first):
            yield number, {"image": image, "label": number % 10, "id": f"{number:05d}"}

    builder = tfds.builder("cifar10", data_dir=folder)
    builder._split_generators = lambda _: {
        "train": examples(0, CIFAR10_TRAIN),
        "test": examples(CIFAR10_TRAIN, CIFAR10_TEST),
    }
    builder.download_and_prepare()
    return folder


@pytest.fixture(scope="session")
def cifar10(cifar10_dir):
    return data.load("cifar10", data_dir=cifar10_dir)
