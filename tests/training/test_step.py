# SPDX-License-Identifier: Apache-2.0
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.training.evaluation import Evaluator
from homoode_tf.training.inputs import Inputs
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.state import TrainState
from homoode_tf.training.step import cross_entropy, make_train_step
from tests.training import fakes

# Batch norm's moments are a replica's own, and dropout's masks too: neither has an equal there.
SAME = {"model__dropout_rate": 0.0, "model__batch_norm": False}


class Trained:
    """The state after some steps on the fakes."""

    def __init__(self, strategy, steps, **changes):
        keras.utils.set_random_seed(3)
        config = fakes.config(**changes)
        settings = TrainingSettings.from_config(config)
        with strategy.scope():
            self.model = fakes.build_model(config.model, (4, 4, 1), 3, (0.5,), (0.25,))
        self.state = TrainState(self.model, settings, 20, strategy)
        self.inputs = Inputs(fakes.FakeImages(), settings.batch_size, strategy)
        batches = self.inputs.train(seed=1, first_step=0, num_steps=steps, augmentation=None)
        train_step = make_train_step(self.state, settings)
        self.points = []
        for _ in range(steps):
            train_step(batches)
            self.points.append(self.model.point.numpy().copy())

    def weights(self):
        with self.state.averaged_weights():
            return [variable.numpy() for variable in self.model.trainable_variables]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer__weight_decay": 0.1, "label_smoothing": 0.2, "weight_averaging__momentum": 0.7},
        {"optimizer__name": "sgd", "optimizer__clip_norm": 0.05},
        pytest.param({"optimizer__name": "sgd"}, marks=pytest.mark.slow),
        pytest.param({"optimizer__name": "muon"}, marks=pytest.mark.slow),
    ],
    ids=["adam", "clipped", "sgd", "muon"],
)
def test_two_replicas_equal_one(one_replica, two_replicas, changes):
    one = Trained(one_replica, 6, batch_size=16, **SAME, **changes)
    two = Trained(two_replicas, 6, batch_size=16, **SAME, **changes)
    for a, b in zip(one.weights(), two.weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for totals in ("period", "epoch"):
        first, second = getattr(one.state, totals).read(), getattr(two.state, totals).read()
        assert first == pytest.approx(second, rel=1e-5)
    assert int(one.state.step) == int(two.state.step) == 6


@pytest.mark.parametrize("replicas", [1, 2])
def test_clipping_bounds_the_norm_of_the_whole_gradient(request, replicas):
    strategy = request.getfixturevalue("one_replica" if replicas == 1 else "two_replicas")
    changes = {"optimizer__name": "sgd", "optimizer__learning_rate": 1.0}
    before, after = (
        Trained(strategy, steps, optimizer__clip_norm=0.05, **changes) for steps in (0, 1)
    )
    # The first update of SGD with rate 1 is minus the gradient.
    update = [
        a.numpy() - b.numpy()
        for a, b in zip(before.model.task_variables, after.model.task_variables, strict=True)
    ]
    assert np.sqrt(sum(np.sum(np.square(part)) for part in update)) == pytest.approx(0.05, rel=1e-4)


def test_replicas_hold_the_same_weights(two_replicas):
    trained = Trained(two_replicas, 4)
    for variable in trained.model.trainable_variables:
        first, second = (value.numpy() for value in variable.value.values)
        np.testing.assert_array_equal(first, second)


def test_the_initial_point_moves_at_every_third_step_only(one_replica):
    points = Trained(one_replica, 7).points
    moved = [not np.array_equal(a, b) for a, b in itertools.pairwise(points)]
    # The steps 2, 3, ..., 7; the period is 3.
    assert moved == [False, True, False, False, True, False]
    np.testing.assert_array_equal(points[0], np.ones(8))


def test_the_initial_point_moves_against_its_own_gradient_only(one_replica):
    # In one SGD step of rate 1 the point moves by minus the gradient of its own loss.
    changes = {"initial_point__period": 1, "initial_point__learning_rate": 1.0, **SAME}
    moved = Trained(one_replica, 1, **changes)
    start = Trained(one_replica, 0, **changes)
    images, _ = next(start.inputs.train(seed=1, first_step=0, num_steps=1, augmentation=None))
    with tf.GradientTape() as tape:
        start.model(images, training=True)
        (loss,) = start.model.losses
    gradient = tape.gradient(loss, start.model.point.value)
    np.testing.assert_allclose(moved.points[0], 1.0 - gradient, rtol=1e-5)


def test_the_task_does_not_feel_the_initial_points_loss(one_replica):
    # The point enters the fakes' logits, so compare one step, before it has moved.
    changes = {"initial_point__period": 1, **SAME}
    still = Trained(one_replica, 1, initial_point__learning_rate=0.0, **changes)
    moved = Trained(one_replica, 1, initial_point__learning_rate=5.0, **changes)
    assert not np.array_equal(still.points[0], moved.points[0])
    for a, b in zip(still.model.task_variables, moved.model.task_variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_agrees_with_keras(smoothing):
    random = np.random.default_rng(0)
    logits = random.normal(size=(5, 4)).astype(np.float32)
    labels = random.integers(0, 4, 5)
    expected = keras.losses.categorical_crossentropy(
        keras.ops.one_hot(labels, 4), logits, from_logits=True, label_smoothing=smoothing
    )
    found = cross_entropy(tf.constant(labels), tf.constant(logits), smoothing)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("replicas", "batch_size", "split"),
    [(1, 8, "validation"), (1, 64, "test"), (2, 2, "test"), (2, 8, "validation"), (2, 64, "test")],
)
def test_evaluation_counts_every_image_once(request, batch_size, split, replicas):
    strategy = request.getfixturevalue("one_replica" if replicas == 1 else "two_replicas")
    trained = Trained(strategy, 0, batch_size=batch_size)
    found = Evaluator(trained.state, trained.inputs).evaluate(split)
    images, labels = trained.inputs._images._parts[split]
    logits = trained.model(images, training=False)
    assert found["examples"] == len(labels)
    assert found["loss"] == pytest.approx(float(np.mean(cross_entropy(labels, logits))), rel=1e-5)
    assert found["accuracy"] == pytest.approx(np.mean(np.argmax(logits, -1) == labels))


def test_evaluation_uses_the_averaged_weights_and_puts_the_weights_back(one_replica):
    trained = Trained(one_replica, 5, weight_averaging__momentum=0.9)
    before = [variable.numpy() for variable in trained.model.variables]
    averaged = Evaluator(trained.state, trained.inputs).evaluate("test")
    after = [variable.numpy() for variable in trained.model.variables]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    trained.state.average = None
    assert Evaluator(trained.state, trained.inputs).evaluate("test")["loss"] != averaged["loss"]


def test_metrics_are_means(one_replica):
    trained = Trained(one_replica, 3)
    totals = trained.state.period.read()
    assert (totals["steps"], totals["examples"]) == (3, 24)
    assert (totals["nfe_forward"], totals["nfe_backward"]) == (14.0, 20.0)
    assert 0 < totals["loss"] < 3 and 0 <= totals["accuracy"] <= 1
    assert trained.state.epoch.read() == totals


def test_the_first_non_finite_step_is_remembered(one_replica):
    trained = Trained(one_replica, 4, optimizer__name="sgd", optimizer__learning_rate=1e20)
    assert 1 <= int(trained.state.first_bad_step) <= 4
    assert (
        int(trained.state.first_bad_step) < 4
        or not np.isfinite(trained.model.logits.kernel.numpy()).all()
    )


def test_a_batch_that_cannot_be_divided_is_refused(two_replicas):
    with pytest.raises(ValueError, match="batch_size must be a multiple of 2.*got 7"):
        Inputs(fakes.FakeImages(), 7, two_replicas)


def test_training_shapes_are_static(one_replica, two_replicas):
    for strategy, size in ((one_replica, 8), (two_replicas, 4)):
        inputs = Inputs(fakes.FakeImages(), 8, strategy)
        batches = inputs.train(seed=1, first_step=0, num_steps=3, augmentation=None)
        evaluation, _ = inputs.evaluation("test")
        for images, *_ in (next(batches), next(evaluation)):
            local = strategy.experimental_local_results(images)[0]
            assert local.shape == (size, 4, 4, 1)
