# SPDX-License-Identifier: Apache-2.0
import pytest

from homoode_tf.training.milestones import Milestones
from tests.training import fakes


def milestones(num_train=40, **changes):
    return Milestones(fakes.settings(**changes), num_train)


def test_counts_full_batches():
    made = milestones(num_train=47)
    assert (made.steps_per_epoch, made.total_steps) == (5, 20)


def test_too_large_a_batch_is_refused():
    with pytest.raises(ValueError, match="config.batch_size must be at most 7"):
        milestones(num_train=7)


def test_every_evaluated_step_is_logged_and_saved_and_so_is_the_last():
    made = milestones(evaluate_every_epochs=3)
    evaluated = [step for step in range(21) if made.evaluates(step)]
    assert evaluated == [15, 20]
    for step in evaluated:
        assert made.logs(step) and made.saves(step) and made.any_at(step)


def test_nothing_is_logged_or_saved_before_the_first_step():
    made = milestones()
    assert not (made.evaluates(0) or made.logs(0) or made.saves(0))


def test_steps_belong_to_epochs():
    made = milestones()
    assert [made.epoch(step) for step in (1, 5, 6, 20)] == [1, 1, 2, 4]
    assert [step for step in range(21) if made.begins_epoch(step)] == [0, 5, 10, 15, 20]
