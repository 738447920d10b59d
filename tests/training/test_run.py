# SPDX-License-Identifier: Apache-2.0
"""What a run does beside its loop."""

import types

import tensorflow as tf

from homoode_tf.training.run import Run


def test_meeting_again_and_again_is_no_retracing(monkeypatch):
    warned = []
    monkeypatch.setattr(tf.get_logger(), "warning", lambda *parts: warned.append(parts))
    run = types.SimpleNamespace(strategy=tf.distribute.OneDeviceStrategy("/cpu:0"))
    for _ in range(7):
        Run.wait_for_workers(run)
    assert not warned
