# SPDX-License-Identifier: Apache-2.0
"""What a run does beside its loop."""

import types

import pytest
import tensorflow as tf

from homoode_tf.training.devices import strategy as strategies
from homoode_tf.training.run import Run


def group_of_one():
    one = tf.distribute.OneDeviceStrategy("/cpu:0")
    spec = tf.train.ClusterSpec({"worker": ["localhost:1"]})
    return types.SimpleNamespace(
        run=one.run,
        experimental_local_results=one.experimental_local_results,
        num_replicas_in_sync=1,
        cluster_resolver=types.SimpleNamespace(cluster_spec=lambda: spec),
    )


@pytest.mark.parametrize("what", ["meet", "gather"])
def test_workers_that_meet_again_and_again_are_no_retracing(what, monkeypatch):
    warned = []
    monkeypatch.setattr(tf.get_logger(), "warning", lambda *parts: warned.append(parts))
    strategy = group_of_one()
    for _ in range(7):
        if what == "meet":
            Run.wait_for_workers(types.SimpleNamespace(strategy=strategy))
        else:
            assert strategies.gather_over_workers(strategy, [3, 4]) == [3, 4]
    assert not warned
