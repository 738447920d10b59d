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
    clock = Clock(batch_size=10)
    with clock.paused(step=0):
        time.now = 10.0
    clock.start_training(step=1)
    time.now = 12.0
    with clock.paused(step=4):
        time.now = 50.0
        assert clock.examples_per_second == 15.0
    time.now = 52.0
    with clock.paused(step=9):
        assert clock.examples_per_second == 20.0
    assert clock.seconds == 52.0


def test_a_resumed_clock_goes_on_counting(time):
    first = Clock(batch_size=2)
    first.start_training(step=0)
    time.now = 4.0
    with first.paused(step=4):
        second = Clock(batch_size=2)
        second.continue_from(first.read())
    second.start_training(step=4)
    time.now = 6.0
    with second.paused(step=9):
        pass
    assert second.seconds == 6.0
    assert second.examples_per_second == 3.0
    assert second.peak_memory_mb >= first.peak_memory_mb > 10
