# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest

from homoode_tf.training.optimizers.schedules import EveryPeriod, WarmupCosine


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in range(steps)])


def test_without_a_warm_up_it_is_kerass_cosine_but_for_rounding():
    found = rates(WarmupCosine(2.0, 0.5, total_steps=40), 41)
    theirs = rates(keras.optimizers.schedules.CosineDecay(2.0, 40, alpha=0.25), 41)
    np.testing.assert_allclose(found, theirs, rtol=1e-6)


def test_warm_up_rises_linearly_to_the_peak():
    found = rates(WarmupCosine(1.0, 0.0, total_steps=20, warmup_fraction=0.25), 20)
    np.testing.assert_allclose(found[:6], [0.2, 0.4, 0.6, 0.8, 1.0, 1.0], rtol=1e-6)
    assert np.all(np.diff(found[5:]) < 0)


def test_warm_up_leaves_a_step_for_the_cosine():
    assert np.all(np.isfinite(rates(WarmupCosine(1.0, 0.0, 1, warmup_fraction=0.9), 2)))


@pytest.mark.parametrize("period", [1, 3, 20])
def test_period_passes_every_nth_rate_and_zero_between(period):
    cosine = WarmupCosine(1.0, 0.1, total_steps=40)
    found = rates(EveryPeriod(cosine, period), 40)
    due = (np.arange(40) + 1) % period == 0
    np.testing.assert_array_equal(found[~due], 0)
    np.testing.assert_array_equal(found[due], rates(cosine, 40)[due])


@pytest.mark.parametrize(
    "schedule",
    [WarmupCosine(1.0, 0.1, 40, 0.2), EveryPeriod(WarmupCosine(1.0, 0.1, 40), 7)],
)
def test_config_round_trip(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    np.testing.assert_array_equal(rates(again, 40), rates(schedule, 40))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WarmupCosine(1.0, 0.0, 0), "total_steps.*0"),
        (lambda: WarmupCosine(1.0, 0.0, 5, 1.0), "warmup_fraction.*1.0"),
        (lambda: EveryPeriod(WarmupCosine(1.0, 0.0, 5), 0), "period.*0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
