# SPDX-License-Identifier: Apache-2.0
"""The layers that implicit layers are made of: normalisation, dropout, dynamics, initial points."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.layers import (
    DEQ,
    ConvDynamics,
    GroupNormalization,
    HomoODE,
    LearnedInitialPoint,
    RunningMeanInitialPoint,
    VariationalDropout,
    initial_point,
)
from homoode_tf.layers.held_state import HeldState
from tests.layers.vector_fields import DenseDynamics, LinearDynamics


def random(*shape, dtype="float32"):
    return tf.constant(np.random.default_rng(0).normal(size=shape), dtype)


class TestGroupNormalization:
    @pytest.mark.parametrize("groups", [1, 2, 8])
    @pytest.mark.parametrize("shape", [(3, 8), (3, 5, 8), (3, 5, 4, 8)])
    def test_agrees_with_keras(self, groups, shape):
        x = random(*shape, dtype="float64") + 3.0
        ours = GroupNormalization(groups, dtype="float64")
        theirs = keras.layers.GroupNormalization(groups, epsilon=1e-5, dtype="float64")
        results = []
        for layer in (ours, theirs):
            layer.build(shape)
            layer.set_weights([random(8).numpy(), random(8).numpy() + 1])
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
            results.append((y, tape.gradient(y, x, random(*shape, dtype="float64") ** 2)))
        for mine, other in zip(*results, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-8)

    def test_half_precision_moments_are_taken_in_float32(self):
        x = tf.cast(random(2, 64, 64, 4) + 8.0, tf.bfloat16)
        y = tf.cast(GroupNormalization(2, dtype="mixed_bfloat16")(x), tf.float32)
        np.testing.assert_allclose(np.mean(y), 0.0, atol=0.01)
        np.testing.assert_allclose(np.std(y), 1.0, atol=0.02)

    def test_errors(self):
        with pytest.raises(ValueError, match="divide the number of channels"):
            GroupNormalization(3)(random(2, 8))
        with pytest.raises(ValueError, match="groups"):
            GroupNormalization(0)
        with pytest.raises(ValueError, match="epsilon"):
            GroupNormalization(epsilon=0)


class TestVariationalDropout:
    def test_drops_whole_channels_and_keeps_the_mean(self):
        y = VariationalDropout(0.25)(tf.ones([200, 3, 3, 50]), training=True).numpy()
        assert (y == y[:, :1, :1]).all()
        assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
        assert abs(y.mean() - 1) < 0.02

    def test_a_held_mask_is_used_for_every_call(self):
        x = tf.ones([4, 3, 3, 32])
        layer = VariationalDropout(0.5)
        layer.build(x.shape)
        held = HeldState(layer, training=True)
        calls = []
        for _ in range(2):
            with held.scope(held.values):
                calls.append(layer(x, training=True))
        first, second = calls
        np.testing.assert_array_equal(first, second)
        assert (layer(x, training=True).numpy() != first.numpy()).any()

    def test_off_in_evaluation(self):
        x = random(2, 3, 3, 4)
        np.testing.assert_array_equal(VariationalDropout(0.5)(x), x)

    def test_every_pass_of_a_solve_draws_anew(self):
        layer = HomoODE(ConvDynamics(4, groups=2, dropout_rate=0.5))
        x = random(2, 4, 4, 4)
        step = tf.function(lambda: layer(x, training=True))
        assert np.abs(step() - step()).max() > 1e-3

    @pytest.mark.parametrize("gradient", ["adjoint", "checkpoint", "backprop"])
    def test_gradients_see_the_mask_of_the_forward_pass(self, gradient):
        """A dropped channel of F gets no gradient; a mask drawn anew would let some through."""

        class Dropped(LinearDynamics):
            def __init__(self):
                super().__init__()
                self.dropout = VariationalDropout(0.5)

            def build(self, z_shape, x_shape):
                super().build(z_shape)
                self.dropout.build(z_shape)

            def call(self, z, x, training=False):
                return self.dropout(x + 0 * z, training=training)

        layer = HomoODE(Dropped(), gradient=gradient, initial_point="zeros")
        x = tf.ones([4, 64])
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = layer(x, training=True)
        np.testing.assert_allclose(tape.gradient(z, x), z, rtol=1e-5)

    def test_errors(self):
        with pytest.raises(ValueError, match="rate must be a number at least 0 and below 1"):
            VariationalDropout(1.0)


class TestConvDynamics:
    def test_is_the_reference_composition(self):
        dynamics = ConvDynamics(4, groups=2)
        z, x = random(2, 5, 5, 4), random(2, 5, 5, 4) + 1
        f = dynamics(z, x)
        kernels = [tf.convert_to_tensor(dynamics.conv1.kernel), dynamics.conv2.kernel.value]
        norm = keras.layers.GroupNormalization(2, epsilon=1e-5)
        y = tf.nn.relu(norm(tf.nn.conv2d(z, kernels[0], 1, "SAME"))) + x
        np.testing.assert_allclose(
            f, norm(tf.nn.conv2d(y, kernels[1], 1, "SAME")), rtol=1e-4, atol=1e-5
        )

    def test_one_initializer_gives_two_kernels(self):
        """A Keras initializer object called twice repeats its values."""
        dynamics = ConvDynamics(4, groups=2, kernel_initializer=keras.initializers.HeNormal())
        dynamics.build((1, 4, 4, 4), (1, 4, 4, 4))
        assert np.abs(dynamics.conv1.kernel.numpy() - dynamics.conv2.kernel.numpy()).max() > 0.1

    def test_errors(self):
        with pytest.raises(ValueError, match="divide filters"):
            ConvDynamics(10, groups=4)
        with pytest.raises(ValueError, match="filters must be"):
            ConvDynamics(0)


class TestInitialPoint:
    @pytest.mark.parametrize("name", ["learned", "running_mean", "zeros", "alternating"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_is_shared_by_all_samples_and_positions(self, name, dtype):
        point = initial_point.get(name)
        z0 = point(random(2, 3, 5, 4, dtype=dtype))
        assert z0.shape == (2, 3, 5, 4) and z0.dtype == dtype
        assert (z0.numpy() == z0.numpy()[:1, :1, :1]).all()
        assert point(random(1, 7, 2, 4)).shape == (1, 7, 2, 4)

    @pytest.mark.parametrize("name", ["alternating", "learned", "running_mean"])
    def test_begins_as_that_of_the_authors(self, name):
        z0 = initial_point.get(name)(tf.zeros([1, 5]))
        np.testing.assert_array_equal(z0, [[-1.0, 1.0, -1.0, 1.0, -1.0]])

    def test_a_saved_one_keeps_its_order(self):
        point = initial_point.AlternatingInitialPoint()
        saved = keras.saving.serialize_keras_object(point)
        again = initial_point.get(saved)
        np.testing.assert_array_equal(again(tf.zeros([1, 2])), [[-1.0, 1.0]])
        # As it was written before the order changed.
        del saved["config"]["first"]
        again = initial_point.get(saved)
        np.testing.assert_array_equal(again(tf.zeros([1, 2])), [[1.0, -1.0]])
        assert again.get_config()["first"] == 1
        with pytest.raises(ValueError, match="first must be -1 or 1, got 0"):
            initial_point.get("alternating", first=0)

    @pytest.mark.parametrize("gradient", ["adjoint", "backprop"])
    def test_input_starts_at_the_condition_and_takes_the_gradient(self, gradient):
        layer = HomoODE(
            LinearDynamics(0.5, dtype="float64"),
            initial_point="input",
            gradient=gradient,
            rtol=1e-9,
            atol=1e-9,
            dtype="float64",
        )
        x = random(3, 4, dtype="float64")
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = layer(x)
        factor = 3.0 * np.exp(0.5) - 2.0  # of e^(rate T) (x + x / rate) - x / rate
        np.testing.assert_allclose(z, factor * x, rtol=1e-7)
        np.testing.assert_allclose(tape.gradient(z, x), tf.fill([3, 4], factor), rtol=1e-7)

    def test_learned_reaches_the_median_of_the_solutions(self):
        """Smooth L1 about far targets is minimised by the median, near ones by the mean."""
        solutions = tf.constant([[0.0, 10.0], [0.2, 20.0], [0.4, 90.0]])
        point = LearnedInitialPoint("zeros")
        point.build((None, 2))
        optimizer = keras.optimizers.SGD(1.0)
        for _ in range(200):
            with tf.GradientTape() as tape:
                point._clear_losses()
                loss = point.observe(solutions)
            variables = point.trainable_variables
            optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        np.testing.assert_allclose(point.value, [0.2, 20.0], atol=0.1)

    def test_loss_is_smooth_l1(self):
        point = LearnedInitialPoint("zeros", loss_weight=2.0)
        point.build((None, 2))
        solutions = random(5, 2) * 2
        loss = point.observe(solutions)
        expected = 2.0 * keras.losses.huber(tf.zeros([5, 2]), solutions, delta=1.0)
        np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-5)

    def test_running_mean_is_the_plain_mean_at_first(self):
        point = RunningMeanInitialPoint(momentum=0.9)
        point.build((None, 3, 4))
        batches = [random(2, 3, 4) + shift for shift in range(5)]
        for batch in batches:
            point.observe(batch)
        np.testing.assert_allclose(
            point.value, np.mean(np.stack(batches), (0, 1, 2)), rtol=1e-5, atol=1e-6
        )

    def test_running_mean_forgets(self):
        point = RunningMeanInitialPoint(momentum=0.5)
        point.build((None, 1))
        for _ in range(30):
            point.observe(tf.ones([2, 1]))
        point.observe(tf.fill([2, 1], 3.0))
        np.testing.assert_allclose(point.value, [2.0], rtol=1e-5)

    @pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
    @pytest.mark.parametrize("point", ["learned", "running_mean"])
    @pytest.mark.parametrize("made", [HomoODE, DEQ])
    def test_an_empty_batch_teaches_nothing(self, made, point, graph):
        options = {"jacobian_weight": 1.0} if made is DEQ else {}
        layer = made(DenseDynamics(4), initial_point=point, **options)
        layer(random(2, 4), training=True)
        before = [variable.numpy() for variable in layer.initial_point.variables]

        def step(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(x, training=True)) + sum(layer.losses)
            return loss, tape.gradient(loss, [v.value for v in layer.trainable_variables])

        loss, gradients = (tf.function(step) if graph else step)(random(0, 4))
        assert loss == 0.0
        assert all(tf.reduce_all(tf.equal(g, 0.0)) for g in gradients if g is not None)
        after = [variable.numpy() for variable in layer.initial_point.variables]
        np.testing.assert_equal(after, before)
        assert all(np.isfinite(variable.numpy()).all() for variable in layer.variables)

    def test_learns_only_while_training(self):
        layer = HomoODE(LinearDynamics(), initial_point="running_mean")
        x = random(2, 4)
        layer(x)
        assert float(layer.initial_point.num_batches) == 0
        layer(x, training=True)
        assert float(layer.initial_point.num_batches) == 1

    def test_errors(self):
        with pytest.raises(ValueError, match="one of learned, running_mean"):
            initial_point.get("best")
        with pytest.raises(ValueError, match="momentum"):
            RunningMeanInitialPoint(momentum=1.0)
        with pytest.raises(ValueError, match="loss_weight"):
            LearnedInitialPoint(loss_weight=0)
