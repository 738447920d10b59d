# SPDX-License-Identifier: Apache-2.0
"""Training on the fakes instead of the real data, models and export."""

import gc

import pytest

from homoode_tf.training import train
from homoode_tf.training.devices import strategy
from tests.training import fakes


@pytest.fixture
def use_fakes(monkeypatch):
    fakes.install(monkeypatch.setattr)
    yield
    # The graphs of a run are a cycle of references, and the time to free several at once grows
    # faster than their number: to minutes for those of this folder's tests.
    gc.collect()
    # What is left now stays: looking through it again would take seconds for every test.
    gc.freeze()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder and the result of a run of the fakes that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        fakes.install(patch.setattr)
        result = train(fakes.config(), workdir, strategy="one_device")
    return workdir, result


@pytest.fixture
def two_replicas():
    mirrored = strategy.create("mirrored")
    assert mirrored.num_replicas_in_sync == 2, "conftest.py makes two logical devices"
    return mirrored


@pytest.fixture
def one_replica():
    return strategy.create("one_device")
