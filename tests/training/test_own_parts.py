# SPDX-License-Identifier: Apache-2.0
"""A weight of one's own trains, whatever its shape, its dtype and the way the model uses it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.training.inputs import Inputs
from homoode_tf.training.step import make_train_step
from tests import slow
from tests.training import fakes

SAME = {"model__batch_norm_momentum": 0.0}


class WithOwnPart(fakes.FakeModel):
    """The fake with a weight of one's own: its shape, its dtype, and how the logits use it."""

    def __init__(self, num_classes, shape, dtype, use, batch_norm=True):
        super().__init__(num_classes, dropout_rate=0.0, batch_norm=batch_norm)
        self.of_own, self.use = (shape, dtype), use

    def build(self, input_shape):
        shape, dtype = self.of_own
        self.own = self.add_weight(shape=shape, dtype=dtype, initializer="ones", name="own")
        super().build(input_shape)

    def call(self, images, training=False):
        logits = super().call(images, training=training)
        return logits if self.use is None else self.use(logits, self.own.value, images)


def _gathered(logits, table, images):
    rows = tf.cast(images[:, 0, 0, 0], tf.int32) % 5
    return logits + tf.gather(table, rows)


def _scaled(logits, weight, images):
    del images
    return logits * tf.cast(tf.reduce_mean(weight), logits.dtype)


OWN_PARTS = {
    "unused": ((2, 3), "float32", None),
    "gathered": ((5, 3), "float32", _gathered),
    "scalar": ((), "float32", _scaled),
    "five_dimensions": ((2, 1, 2, 1, 2), "float32", _scaled),
    "bfloat16": ((3,), "bfloat16", _scaled),
    "float64": ((3, 3), "float64", _scaled),
}
MIXED = ("bfloat16", "float64")
SETTINGS = {
    "stop": {"weight_averaging__momentum": 0.5},
    "skip": {
        "non_finite": "skip",
        "optimizer__clip_norm": 0.1,
        "optimizer__weight_decay": 0.1,
    },
}


def after_a_step(strategy, part, **changes):
    """The model, and the task's weights before and after a step."""

    def build(settings, image_shape, num_classes, *_):
        keras.utils.set_random_seed(3)
        model = WithOwnPart(num_classes, *OWN_PARTS[part], settings.batch_norm_momentum > 0)
        model.build((None, *image_shape))
        return model

    state, settings = fakes.make_state(strategy, build, **changes), fakes.settings(**changes)
    before = [v.numpy().copy() for v in state.model.task_variables]
    step = make_train_step(state, settings)
    step(Inputs(fakes.FakeImages(), settings, strategy).train(0, 1))
    return state.model, before, [v.numpy() for v in state.model.task_variables]


@pytest.mark.parametrize("part", OWN_PARTS)
@pytest.mark.parametrize("changes", SETTINGS)
@pytest.mark.parametrize("name", ["adam", slow("sgd"), slow("muon")])
def test_a_part_of_ones_own_is_trained(one_replica, part, changes, name):
    decays = changes == "skip"
    changes = {"optimizer__name": name, **SETTINGS[changes]}
    model, before, after = after_a_step(one_replica, part, **changes)
    for variable, old, new in zip(model.task_variables, before, after, strict=True):
        assert np.isfinite(new.astype(np.float64)).all(), variable.path
        # Decay moves what nothing uses, and a small step may be none in bfloat16.
        if variable is not model.own or not (decays or part == "bfloat16"):
            unused = part == "unused" and variable is model.own
            assert np.any(old != new) == (not unused), variable.path


@pytest.mark.parametrize("part", [part for part in OWN_PARTS if part not in MIXED])
def test_parts_of_the_batch_sum_to_the_whole_with_a_part_of_ones_own(one_replica, part):
    changes = {"optimizer__name": "sgd", **SAME}
    _, _, whole = after_a_step(one_replica, part, **changes)
    _, _, parts = after_a_step(one_replica, part, **changes, accumulation_steps=2)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("part", OWN_PARTS)
def test_a_part_of_ones_own_on_two_replicas(one_replica, two_replicas, part):
    changes = {"optimizer__name": "sgd", **SAME}
    if part in MIXED:
        with pytest.raises(InvalidValueError, match=rf"they have {part} \(.*/own\) and float32"):
            after_a_step(two_replicas, part, **changes)
        return
    _, _, one = after_a_step(one_replica, part, **changes)
    _, _, two = after_a_step(two_replicas, part, **changes)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
