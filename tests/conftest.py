# SPDX-License-Identifier: Apache-2.0
import pathlib
import shutil
from typing import NamedTuple

import pytest

from homoode_tf.models import weights
from tests import shipped as small


class Shipped(NamedTuple):
    """Where small weights are, their card, and where their data are."""

    folder: pathlib.Path
    card: weights.Card
    data_dir: pathlib.Path


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    folder, data_dir = tmp_path_factory.mktemp("weights"), tmp_path_factory.mktemp("data")
    return Shipped(folder, small.write(folder, data_dir), data_dir)


@pytest.fixture
def shipped(small_weights, tmp_path, monkeypatch):
    """Small weights, `small`, that ship alone; what a test does to them is its own."""
    folder = tmp_path / "weights"
    shutil.copytree(small_weights.folder, folder)
    monkeypatch.setattr(weights, "FOLDER", folder)
    return small_weights._replace(folder=folder)
