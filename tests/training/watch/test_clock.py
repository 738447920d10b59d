# SPDX-License-Identifier: Apache-2.0
import pytest

from homoode_tf.training.watch import clock as clock_module
from homoode_tf.training.watch.clock import Clock


@pytest.fixture
def time(monkeypatch):
    class Time:
        now = 0.0

        def monotonic(self):
            return self.now

    fake = Time()
    monkeypatch.setattr(clock_module, "time", fake)
    return fake


def test_training_seconds_leave_out_what_is_between(time):
    clock = Clock()
    time.now = 10.0
    clock.start_training()
    time.now = 12.0
    clock.stop_training(examples=30)
    time.now = 50.0
    clock.stop_training(examples=30)
    assert clock.examples_per_second == 15.0
    assert clock.seconds == 50.0


def test_a_resumed_clock_goes_on_counting(time):
    first = Clock()
    first.start_training()
    time.now = 4.0
    first.stop_training(examples=8)
    second = Clock()
    second.continue_from(first.read())
    second.start_training()
    time.now = 6.0
    second.stop_training(examples=10)
    assert second.seconds == 6.0
    assert second.examples_per_second == 3.0
    assert second.peak_memory_mb >= first.peak_memory_mb > 10
