# SPDX-License-Identifier: Apache-2.0
"""What a solve costs as a loss: kinetic energy, Jacobian, and a final time that is drawn."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.layers import ConvDynamics, HomoODE, NeuralODE
from tests import slow

MODES = [
    (gradient, step_control)
    for gradient in ("checkpoint", "backprop", "adjoint")
    for step_control in ("batch", "sample")
]
Z0 = np.array([[0.5, -1.0, 2.0], [0.1, 0.2, 0.3]])


class Scaled(keras.layers.Layer):
    """F(z) = activation(a z)."""

    def __init__(self, activation="linear", **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)

    def build(self, shape):
        self.a = self.add_weight(shape=(), initializer="ones", name="a")

    def call(self, z):
        return self.activation(self.a * z)


def make(activation="linear", a=-0.7, mode=("checkpoint", "batch"), **weights):
    layer = NeuralODE(
        Scaled(activation, dtype="float64"),
        rtol=1e-9,
        atol=1e-9,
        gradient=mode[0],
        step_control=mode[1],
        dtype="float64",
        **weights,
    )
    layer.build(Z0.shape)
    layer.dynamics.a.assign(a)
    return layer


def loss_and_gradients(layer):
    """The added loss, and its gradients by a and by z(0)."""
    z0 = tf.constant(Z0)
    with tf.GradientTape() as tape:
        tape.watch(z0)
        layer(z0, training=True)
        (loss,) = layer.losses
        loss = tf.cast(loss, tf.float64)
    return loss, *tape.gradient(loss, [layer.dynamics.a.value, z0])


@pytest.fixture(autouse=True)
def in_double_precision(monkeypatch):
    # Keras adds losses up in floatx.
    monkeypatch.setattr(keras.config, "floatx", lambda: "float64")


@pytest.mark.parametrize("mode", MODES)
def test_kinetic_energy_of_linear_dynamics(mode):
    a, weight = -0.7, 0.3
    loss, by_a, by_z0 = loss_and_gradients(make(a=a, mode=mode, kinetic_weight=weight))
    # Integral of a^2 z0^2 exp(2 a t) over [0, 1].
    factor = weight * a / 2 * (np.exp(2 * a) - 1)
    slope = weight * ((np.exp(2 * a) - 1) / 2 + a * np.exp(2 * a))
    np.testing.assert_allclose(loss, factor * np.mean(Z0**2), rtol=1e-7)
    np.testing.assert_allclose(by_a, slope * np.mean(Z0**2), rtol=1e-6)
    np.testing.assert_allclose(by_z0, factor * 2 * Z0 / Z0.size, rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "graph"), [*((mode, True) for mode in MODES), *((mode, False) for mode in MODES[::3])]
)
def test_gradients_of_the_jacobian_s_size_are_those_of_finite_differences(mode, graph):
    layer = make("tanh", mode=mode, jacobian_weight=0.5, kinetic_weight=0.1)
    seed = layer.seed_generator.state.numpy()
    traced = tf.function(lambda: loss_and_gradients(layer), autograph=False)

    def evaluate(a, compute=traced):
        layer.dynamics.a.assign(a)
        layer.seed_generator.state.assign(seed)  # the same random vector
        return compute()

    by_a = (evaluate(-0.7) if graph else evaluate(-0.7, lambda: loss_and_gradients(layer)))[1]
    step = 1e-5
    difference = (evaluate(-0.7 + step)[0] - evaluate(-0.7 - step)[0]) / (2 * step)
    np.testing.assert_allclose(by_a, difference, rtol=1e-5)


def test_the_jacobian_s_size_is_its_frobenius_norm_in_the_mean():
    layer = make(a=-0.7, jacobian_weight=1.0)
    layer.solver = layer.solver.replace(rtol=1e-4, atol=1e-4)

    @tf.function(autograph=False)
    def loss():
        layer(tf.constant(Z0), training=True)
        return layer.losses[0]

    losses = [float(loss()) for _ in range(50)]
    assert len(set(losses)) == 50
    # Of 300 squares of standard normal numbers the mean has a deviation of 0.08.
    np.testing.assert_allclose(np.mean(losses), 0.7**2, rtol=0.3)


def test_the_solution_is_the_same_with_the_energy_beside_it():
    z0 = tf.constant(Z0)
    plain = make("tanh").solve(z0, training=True)
    layer = make("tanh", jacobian_weight=0.5, kinetic_weight=0.1)
    beside = layer.solve(z0, training=True)
    np.testing.assert_allclose(beside.final_state, plain.final_state, rtol=1e-8)
    assert plain.energy is None
    assert layer.solve(z0).energy is None


def test_the_final_time_is_drawn_in_training_only():
    layer = make(a=1.0, final_time_spread=0.25)
    draw = tf.function(lambda: layer.solve(tf.constant(Z0), training=True).times[-1])
    times = [float(draw()) for _ in range(50)]
    assert 0.75 < min(times) < 0.85
    assert 1.15 < max(times) < 1.25
    ends = [layer(tf.constant(Z0)) for _ in range(2)]
    for end in ends:
        np.testing.assert_allclose(end, Z0 * np.e, rtol=1e-7)


@pytest.mark.parametrize("policy", ["float32", slow("mixed_bfloat16")])
def test_fit_adds_the_energy_to_the_loss(policy, monkeypatch):
    monkeypatch.undo()
    weights = {"kinetic_weight": 1e3, "jacobian_weight": 1.0, "final_time_spread": 0.1}
    dynamics = ConvDynamics(4, groups=2, dtype=policy)
    layer = HomoODE(
        dynamics, "heun_euler", initial_point="zeros", gradient="backprop", dtype=policy, **weights
    )
    pool = keras.layers.GlobalAveragePooling2D()
    model = keras.Sequential([keras.Input((4, 4, 4)), layer, pool])
    model.compile("sgd", "mse")
    x = np.ones([2, 4, 4, 4], np.float32)
    assert model.evaluate(x, np.zeros([2, 4]), verbose=0) < 10.0
    assert model.train_on_batch(x, np.zeros([2, 4])) > 10.0
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert {name: getattr(copy, name) for name in weights} == weights


@pytest.mark.parametrize(
    "setting",
    [{"kinetic_weight": -1.0}, {"jacobian_weight": "big"}, {"final_time_spread": 1.0}],
)
def test_bad_weights_are_refused(setting):
    with pytest.raises((ValueError, TypeError), match=next(iter(setting))):
        make(**setting)


@pytest.mark.parametrize("step_control", ["batch", "sample"])
@pytest.mark.parametrize("solver", ["dopri5", "bosh3", "heun_euler", "tsit5"])
def test_error_s_size_is_a_loss(solver, step_control):
    graph = (solver in ("dopri5", "heun_euler")) == (step_control == "batch")
    # At a given first step, of which the whole solve consists, the loss is smooth.
    settings = {"solver": solver, "step_control": step_control, "first_step_size": 1.0}
    settings |= {"rtol": 0.4, "atol": 0.4, "gradient": "backprop", "dtype": "float64"}
    layer = NeuralODE(Scaled("tanh", dtype="float64"), error_weight=0.3, **settings)
    layer.build(Z0.shape)
    layer.dynamics.a.assign(-0.7)
    call = tf.function(lambda: loss_and_gradients(layer)) if graph else None
    loss, by_a, by_z0 = (call or (lambda: loss_and_gradients(layer)))()

    # The method's step, written out, and its errors in units of the tolerance at these values.
    tableau = layer.solver.settings.tableau

    def loss_at(a, z0, scale=None):
        slopes = [np.tanh(a * z0)]
        for row in tableau.a:
            inner = z0 + sum(w * k for w, k in zip(row, slopes, strict=True))
            slopes.append(np.tanh(a * inner))
        z1 = z0 + sum(w * k for w, k in zip(tableau.b, slopes, strict=True))
        error = sum(w * k for w, k in zip(tableau.error[0], slopes, strict=True))
        if scale is None:
            scale = 0.4 + 0.4 * np.maximum(abs(z0), abs(z1))
        return 0.3 * np.mean((error / scale) ** 2), scale

    value, scale = loss_at(-0.7, Z0)
    np.testing.assert_allclose(loss, value, rtol=1e-10)
    step = 1e-5
    slope = (loss_at(-0.7 + step, Z0, scale)[0] - loss_at(-0.7 - step, Z0, scale)[0]) / (2 * step)
    np.testing.assert_allclose(by_a, slope, rtol=1e-6)
    moved = np.zeros_like(Z0)
    moved[1, 2] = step
    slope = (loss_at(-0.7, Z0 + moved, scale)[0] - loss_at(-0.7, Z0 - moved, scale)[0]) / (2 * step)
    np.testing.assert_allclose(by_z0[1, 2], slope, rtol=1e-5)


def test_both_energies_add_up_over_all_accepted_steps():
    settings = {"gradient": "backprop", "rtol": 1e-4, "atol": 1e-4}
    losses = []
    for weights in ({"kinetic_weight": 0.3}, {"error_weight": 0.2}):
        layer = NeuralODE(Scaled("tanh"), **weights, **settings)
        layer(Z0, training=True)
        losses += layer.losses
    layer = NeuralODE(Scaled("tanh"), kinetic_weight=0.3, error_weight=0.2, **settings)
    layer(Z0, training=True)
    (both,) = layer.losses
    np.testing.assert_allclose(both, losses[0] + losses[1], rtol=0.05)
    layer(Z0, training=False)
    assert not layer.losses


@pytest.mark.parametrize(
    "settings", [{}, {"gradient": "adjoint"}, {"solver": "rk4", "num_steps": 2}, {"solver": "bdf"}]
)
def test_errors_that_no_loss_can_reach_are_refused(settings):
    with pytest.raises(ValueError, match="error_weight needs .* gradient='backprop'"):
        NeuralODE(Scaled(), error_weight=0.1, **settings)
