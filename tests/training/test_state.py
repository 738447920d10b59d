# SPDX-License-Identifier: Apache-2.0
import collections

import numpy as np
import pytest

from homoode_tf.training.non_finite import NonFiniteError
from tests.training.fakes import make_state


def test_every_variable_is_in_a_checkpoint_once(one_replica):
    state = make_state(one_replica, weight_averaging__momentum=0.9)
    held = [id(variable) for variable in state.variables().values()]
    assert len(held) == len(set(held))
    expected = [v.value for v in state.model.variables]
    expected += [v.value for v in state.task_optimizer.variables]
    expected += [v.value for v in state.initial_point_optimizer.variables]
    expected += state.average.averages
    expected += [state.step, state.recent_metrics.variable, state.epoch_metrics.variable]
    assert {id(variable) for variable in expected} == set(held)
    names = [variable.path for variable in state.model.variables]
    assert any("seed_generator_state" in name for name in names)
    assert any("moving_variance" in name for name in names)


def test_checkpoints_of_older_runs_resume(one_replica):
    """A checkpoint is found again by these names: whoever changes one loses all runs."""
    changes = {"precision": "mixed_float16", "weight_averaging__momentum": 0.9}
    names = list(make_state(one_replica, **changes).variables())
    groups = collections.Counter(name.rpartition("_")[0] for name in names)
    assert groups == {
        "model": 14,
        "task_optimizer": 17,
        "counter": 3,  # the step, the metrics since the last line, the metrics of the epoch
        "initial_point_optimizer": 1,
        "average": 11,
        "skipped": 1,
        "loss_scale": 2,
    }
    assert [name for name in names if name.startswith("counter")] == [
        f"counter_{number:04d}" for number in range(3)
    ]


def test_names_do_not_depend_on_what_was_built_before(one_replica):
    first, second = make_state(one_replica), make_state(one_replica)
    shapes = [{k: v.shape for k, v in s.variables().items()} for s in (first, second)]
    assert shapes[0] == shapes[1]


def test_each_replica_gets_random_numbers_of_its_own(two_replicas):
    state = make_state(two_replicas)
    (seed,) = [v.value for v in state.model.variables if v.name == "seed_generator_state"]
    before = seed.values[0].numpy()
    state.separate_random_states()
    first, second = (value.numpy() for value in seed.values)
    np.testing.assert_array_equal(first, before)
    assert first[0] != second[0]


def test_synchronising_sets_replicas_to_their_mean(two_replicas):
    state = make_state(two_replicas)
    moving = state.model.norm.moving_mean.value
    moving.values[0].assign([1.0] * 8)
    moving.values[1].assign([3.0] * 8)
    state.synchronise()
    for value in moving.values:
        np.testing.assert_array_equal(value.numpy(), [2.0] * 8)


def test_averaged_weights_are_put_back_even_after_an_error(one_replica):
    state = make_state(one_replica, weight_averaging__momentum=0.9)
    point = state.model.point
    state.model.point.assign([5.0] * 8)
    with pytest.raises(KeyError), state.averaged_weights():
        assert point.numpy()[0] == 1.0
        raise KeyError
    assert point.numpy()[0] == 5.0


def test_a_non_finite_loss_is_named_with_its_step(one_replica):
    state = make_state(one_replica)
    state.non_finite_steps.check()
    state.non_finite_steps.first_bad_step.assign(17)
    with pytest.raises(NonFiniteError, match="non-finite at step 17"):
        state.non_finite_steps.check()
