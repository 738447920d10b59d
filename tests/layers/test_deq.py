# SPDX-License-Identifier: Apache-2.0
"""What a DEQ has beside the other implicit layers."""

import keras
import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from homoode_tf.layers import DEQ
from homoode_tf.solvers import fixed_point
from tests.layers.vector_fields import DenseDynamics


def random(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), "float32")


class Expanding(keras.layers.Layer):
    def call(self, z, x):
        return z + 1.0 + x**2 + tf.abs(z)


# Plain iteration does not find the fixed point of dynamics that are not made to contract.
@pytest.mark.parametrize("solver", [name for name in fixed_point.names() if name != "damped"])
def test_output_is_scipys_root(solver):
    dynamics = DenseDynamics(3, dtype="float64")
    layer = DEQ(dynamics, solver, rtol=1e-10, atol=1e-10, max_num_iterations=300, dtype="float64")
    x = tf.cast(random(2, 3), tf.float64)
    z = layer(x).numpy()
    kernel, bias = (weight.numpy() for weight in dynamics.dense.weights)
    for row, condition in zip(z, x.numpy(), strict=True):
        expected = scipy.optimize.root(
            lambda v, c=condition: np.tanh(v @ kernel + bias + c) - 2.0 * v,
            np.zeros(3),
            tol=1e-13,
        )
        np.testing.assert_allclose(row, expected.x, atol=1e-8)
    assert float(layer.residual) < 1e-9


def test_a_map_without_a_fixed_point_warns_and_goes_on():
    layer = DEQ(Expanding(), max_num_iterations=10)
    with pytest.warns(fixed_point.FixedPointWarning, match="did not converge"):
        z = layer(random(2, 4))
    assert np.isfinite(z).all()
    assert float(layer.residual) >= 1.0
    with pytest.raises(fixed_point.FixedPointError, match="did not converge"):
        DEQ(Expanding(), max_num_iterations=10, on_failure="raise")(random(2, 4))


def test_a_graph_warns_once_and_xla_not_at_all(capfd):
    x = random(8, 4)
    for jit_compile, number in [(False, 1), (True, 0)]:
        model = keras.Sequential([keras.Input((4,)), DEQ(Expanding(), max_num_iterations=3)])
        model.compile("sgd", "mse", jit_compile=jit_compile)
        model.fit(x, x, batch_size=2, epochs=2, verbose=0)
        assert capfd.readouterr().err.count("did not converge") == number
    layer = DEQ(Expanding(), max_num_iterations=3, on_failure="raise")
    layer.build((8, 4))
    assert np.isnan(tf.function(layer, jit_compile=True, autograph=False)(x)).all()


def test_jacobian_weight_adds_a_loss_that_training_lowers():
    x = random(64, 4)

    def jacobian_size(weight):
        keras.utils.set_random_seed(0)
        layer = DEQ(DenseDynamics(4), jacobian_weight=weight, on_failure="return")
        model = keras.Sequential([layer, keras.layers.Dense(4)])
        model.compile(keras.optimizers.Adam(0.02), "mse")
        model.fit(x, 0.1 * x, epochs=6, verbose=0)
        z = layer(x)
        penalties = [
            fixed_point.jacobian_penalty(lambda z: layer.dynamics(z, x), z, seed=k)
            for k in range(8)
        ]
        return float(tf.reduce_mean(penalties))

    assert jacobian_size(3.0) < 0.8 * jacobian_size(0.0)


def test_a_learned_initial_point_is_drawn_to_the_solutions():
    layer = DEQ(DenseDynamics(4), initial_point="learned", on_failure="return")
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(1.0), None)
    x = random(64, 4)
    model.build(x.shape)
    before = np.abs(layer.initial_point.value - tf.reduce_mean(layer(x), 0)).max()
    layer.dynamics.trainable = False
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(x, tf.zeros_like(x), epochs=10, verbose=0)
    after = np.abs(layer.initial_point.value - tf.reduce_mean(layer(x), 0)).max()
    assert after < 0.5 * before


def test_batch_mates_do_not_matter():
    layer = DEQ(DenseDynamics(4), on_failure="return")
    x = random(16, 4)
    wild = tf.concat([x[:1], 50.0 * x[1:]], 0)
    alone = layer(x[:1])[0]
    for batch in (x, wild):
        np.testing.assert_allclose(layer(batch)[0], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "solver",
    [
        fixed_point.Damped(0.7, max_num_iterations=200),
        fixed_point.Anderson(memory=3, damping=0.8, max_num_iterations=99),
        fixed_point.Broyden(update="bad", memory=4, on_failure="return"),
        fixed_point.NewtonKrylov(krylov_dimension=5, krylov_rtol=1e-3, atol=1e-5),
    ],
    ids=lambda solver: solver.name,
)
def test_a_solver_object_is_used_and_saved(solver):
    layer = DEQ(DenseDynamics(3), solver)
    assert layer.solver is solver
    again = DEQ.from_config(layer.get_config())
    assert type(again.solver) is type(solver)
    assert vars(again.solver) == vars(solver)
    x = random(2, 3)
    assert layer(x).shape == x.shape


def test_a_solver_object_has_its_own_options():
    with pytest.raises(
        ValueError, match="rtol, on_failure belong to a fixed-point solver given by name"
    ):
        DEQ(DenseDynamics(3), fixed_point.Anderson(), rtol=1e-4, on_failure="raise")
    with pytest.raises(ValueError, match="fixed-point solver must be one of damped, anderson"):
        DEQ(DenseDynamics(3), 7)

    class Own(fixed_point.Damped):
        pass

    with pytest.raises(ValueError, match="Cannot save a solver of class Own"):
        DEQ(DenseDynamics(3), Own()).get_config()
