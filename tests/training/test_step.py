# SPDX-License-Identifier: Apache-2.0
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import confusion_matrix

from homoode_tf import solvers
from homoode_tf.training.evaluation import Evaluator
from homoode_tf.training.inputs import Inputs
from homoode_tf.training.non_finite import NonFiniteError, NonFiniteSteps
from homoode_tf.training.objective import cross_entropy
from homoode_tf.training.optimizers.loss_scale import LossScale
from homoode_tf.training.step import make_train_step
from tests import slow
from tests.training import fakes

# Batch norm's moments are a replica's own, and dropout's masks too: neither has an equal there.
SAME = {"model__dropout_rate": 0.0, "model__batch_norm_momentum": 0.0}


@pytest.fixture(params=["one_replica", slow("two_replicas")])
def strategy(request):
    return request.getfixturevalue(request.param)


class Trained:
    """The state after some steps on the fakes."""

    def __init__(self, strategy, steps, images=None, **changes):
        keras.utils.set_random_seed(3)
        settings = fakes.settings(**changes)
        self.state = fakes.make_state(strategy, **changes)
        self.model = self.state.model
        images = fakes.FakeImages() if images is None else images
        self.inputs = Inputs(images, settings, strategy)
        batches = self.inputs.train(0, steps)
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
        slow({"optimizer__name": "sgd", "optimizer__clip_norm": 0.05}),
        slow({"optimizer__name": "sgd"}),
        slow({"optimizer__name": "muon"}),
    ],
    ids=["adam", "clipped", "sgd", "muon"],
)
def test_two_replicas_equal_one(one_replica, two_replicas, changes):
    one = Trained(one_replica, 6, batch_size=16, **SAME, **changes)
    two = Trained(two_replicas, 6, batch_size=16, **SAME, **changes)
    for a, b in zip(one.weights(), two.weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for sums in ("recent_metrics", "epoch_metrics"):
        first, second = getattr(one.state, sums).means(), getattr(two.state, sums).means()
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
    images, _ = next(start.inputs.train(0, 1))
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
    evaluator, came = Evaluator(trained.state, trained.inputs), []
    found = evaluator.evaluate(split, came.append)
    images, labels = trained.inputs._images._parts[split]
    logits = trained.model(images, training=False)
    assert found["examples"] == len(labels)
    assert found["loss"] == pytest.approx(float(np.mean(cross_entropy(labels, logits))), rel=1e-5)
    classes = np.argmax(logits, -1)
    assert found["accuracy"] == pytest.approx(np.mean(classes == labels))
    # What comes is said, and what was seen can be looked at.
    count = -(-len(labels) // batch_size)
    assert came[0] == f"{split} 1/{count}, compiling" and len(came) == count
    np.testing.assert_array_equal(evaluator.confusion, confusion_matrix(labels, classes))
    number = min(16, batch_size // replicas, len(labels))
    for part, whole in zip(evaluator.samples, (images, labels, classes), strict=True):
        np.testing.assert_array_equal(part, whole[:number])
    assert set(evaluator.pictures()) == {"samples", "confusion_matrix"}


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
    means = trained.state.recent_metrics.means()
    assert (means["steps"], means["examples"]) == (3, 24)
    assert (means["nfe_forward"], means["nfe_backward"]) == (14.0, 20.0)
    assert 0 < means["loss"] < 3 and 0 <= means["accuracy"] <= 1
    assert trained.state.epoch_metrics.means() == means


def test_the_first_non_finite_step_is_remembered(one_replica):
    trained = Trained(one_replica, 4, optimizer__name="sgd", optimizer__learning_rate=1e20)
    assert 1 <= int(trained.state.non_finite_steps.first_bad_step) <= 4
    assert (
        int(trained.state.non_finite_steps.first_bad_step) < 4
        or not np.isfinite(trained.model.logits.kernel.numpy()).all()
    )


def test_a_batch_that_cannot_be_divided_is_refused(two_replicas):
    with pytest.raises(ValueError, match="batch_size must be a multiple of 2.*got 7"):
        Inputs(fakes.FakeImages(), fakes.settings(batch_size=7), two_replicas)
    message = "multiple of 6, the number of replicas, times config.accumulation_steps=3, got 8"
    with pytest.raises(ValueError, match=message):
        Inputs(fakes.FakeImages(), fakes.settings(accumulation_steps=3), two_replicas)


def test_parts_of_a_batch_give_the_gradient_of_the_whole(strategy):
    whole, parts = (
        Trained(strategy, 6, batch_size=16, accumulation_steps=number, **SAME) for number in (1, 4)
    )
    for a, b in zip(whole.weights(), parts.weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert whole.state.epoch_metrics.means() == pytest.approx(
        parts.state.epoch_metrics.means(), rel=1e-5
    )


def test_parts_go_through_batch_norm_and_dropout(strategy):
    trained = Trained(strategy, 3, batch_size=16, accumulation_steps=2)
    assert np.isfinite(trained.state.epoch_metrics.means()["loss"])
    assert np.abs(trained.model.norm.moving_mean.numpy()).max() > 0


class PoisonedImages(fakes.FakeImages):
    """The batches named are white, which the poisoned model cannot bear, or left out."""

    def __init__(self, poisoned=(), left_out=()):
        super().__init__()
        self.poisoned, self.left_out = poisoned, left_out

    def train_batches(self, batch_size, *, num_steps, **options):
        batches = super().train_batches(
            batch_size, num_steps=num_steps + len(self.left_out), **options
        )
        chosen = [k for k in range(num_steps + len(self.left_out)) if k not in self.left_out]

        def poison(number, batch):
            images, labels = batch
            bad = tf.reduce_any(number == tf.constant(self.poisoned, tf.int64))
            return tf.where(bad, tf.fill(tf.shape(images), np.uint8(255)), images), labels

        batches = batches.enumerate().filter(
            lambda number, _: tf.reduce_any(number == tf.constant(chosen, tf.int64))
        )
        return fakes._without_auto_shard(batches.map(poison))


@pytest.fixture
def poisoned_model(monkeypatch):
    call = fakes.FakeModel.call

    def poisoned(self, images, training=False):
        white = tf.reduce_all(tf.equal(images, 255))
        return call(self, images, training=training) * tf.where(white, np.nan, 1.0)

    monkeypatch.setattr(fakes.FakeModel, "call", poisoned)


ONE_DROPOUT = {"model__dropout_rate": 0.0, "initial_point__period": 1}


@pytest.mark.usefixtures("poisoned_model")
class TestNonFiniteSteps:
    @pytest.mark.parametrize("precision", ["mixed_float16", slow("float32")])
    def test_a_skipped_step_leaves_no_trace(self, strategy, precision):
        options = {"non_finite": "skip", "precision": precision, "optimizer__clip_norm": 0.5}
        options |= {"weight_averaging__momentum": 0.5, **ONE_DROPOUT}
        skipping = Trained(strategy, 6, PoisonedImages(poisoned=(2,)), **options)
        without = Trained(strategy, 5, PoisonedImages(left_out=(2,)), **options)
        left = without.state.variables()
        for name, variable in skipping.state.variables().items():
            if name in ("counter_0000", "skipped_0000") or name.startswith("loss_scale"):
                continue
            np.testing.assert_array_equal(variable.numpy(), left[name].numpy(), err_msg=name)
        assert skipping.state.non_finite_steps.skipped.numpy().tolist() == [1, 0, 3]
        assert int(skipping.state.step) == 6
        assert skipping.state.epoch_metrics.means() == without.state.epoch_metrics.means()
        skipping.state.non_finite_steps.check()

    @pytest.mark.parametrize("precision", ["mixed_float16", slow("float32")])
    def test_stop_names_the_first_one(self, strategy, precision):
        trained = Trained(strategy, 5, PoisonedImages(poisoned=(2, 3)), precision=precision)
        with pytest.raises(NonFiniteError, match="non-finite at step 3; the checkpoints"):
            trained.state.non_finite_steps.check()


def test_many_skipped_in_a_row_stop_the_run():
    steps = NonFiniteSteps("skip")
    for step in range(1, 120):
        bad = tf.constant(step not in (40, 41))
        steps.count(tf.constant(step, tf.int64), ~bad, ~bad)
        if step < 91:
            steps.check()
    with pytest.raises(NonFiniteError, match="in all of the 50 steps until step 91"):
        steps.check()


def test_the_loss_scale_cancels(one_replica):
    half, full = (
        Trained(one_replica, 5, precision=precision)
        for precision in ("mixed_float16", "float32")  # the fakes compute in float32 all the same
    )
    for a, b in zip(half.weights(), full.weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_an_overflow_halves_the_scale_and_is_no_fault(one_replica):
    trained = Trained(one_replica, 0, precision="mixed_float16")
    state, settings = trained.state, fakes.settings(precision="mixed_float16")
    state.loss_scale.value.assign(3e38)
    before = trained.weights()
    step = make_train_step(state, settings)
    batches = trained.inputs.train(0, 1)
    step(batches)
    state.non_finite_steps.check()
    assert float(state.loss_scale.value) == 2.0**24
    assert state.non_finite_steps.skipped.numpy().tolist() == [1, 1, 1]
    for a, b in zip(before, trained.weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_scale_grows_after_finite_steps_and_falls_to_one_at_most():
    scale = LossScale(growth_steps=3)
    values = []
    for finite in (True, True, True, False, True, True, False, True, True, True):
        scale.update(tf.constant(finite))
        values.append(float(scale.value) / 2.0**15)
    assert values == [1, 1, 2, 1, 1, 1, 0.5, 0.5, 0.5, 1]
    for _ in range(20):
        scale.update(tf.constant(False))
    assert float(scale.value) == 1.0 and bool(scale.is_smallest)


def test_training_shapes_are_static(one_replica, two_replicas):
    for strategy, size in ((one_replica, 8), (two_replicas, 4)):
        inputs = Inputs(fakes.FakeImages(), fakes.settings(), strategy)
        batches = inputs.train(0, 3)
        evaluation, _ = inputs.evaluation("test")
        for images, *_ in (next(batches), next(evaluation)):
            local = strategy.experimental_local_results(images)[0]
            assert local.shape == (size, 4, 4, 1)


class Solving(fakes.FakeModel):
    """A model whose solve fails for images of one brightness."""

    def call(self, images, training=False):
        logits = super().call(images, training)
        times = tf.reshape(tf.cast(images, tf.float32), [-1])[0] / 1e3
        solver = solvers.get("dopri5", max_num_steps=1)
        results = solver.solve(lambda t, z: -1e4 * times * z, 0.0, tf.ones([1]), [1.0])
        return logits + tf.reduce_sum(results.states)


def test_a_step_whose_solve_fails_is_left_out(one_replica):
    def build(*arguments):
        model = Solving(3)
        model.build((None, 4, 4, 1))
        return model

    settings = fakes.settings(non_finite="skip")
    state = fakes.make_state(one_replica, build, non_finite="skip")
    step = make_train_step(state, settings)
    before = [variable.numpy() for variable in state.model.variables]
    images, labels = tf.fill([8, 4, 4, 1], tf.constant(9, tf.uint8)), tf.zeros([8], tf.int64)
    step(iter([(images, labels)]))
    assert state.non_finite_steps.num_skipped == int(state.step) == 1
    for variable, old in zip(state.model.variables, before, strict=True):
        if "nfe" not in variable.name and "seed" not in variable.name:
            np.testing.assert_array_equal(variable.numpy(), old, err_msg=variable.path)
