# SPDX-License-Identifier: Apache-2.0
"""What is accepted as dynamics: layers of any rank, functional models, and functions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.layers import ConvDynamics, DenseDynamics, FunctionDynamics, HomoODE, NeuralODE


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3)])
def test_dense_dynamics_is_its_formula(shape):
    z, x = (np.random.RandomState(i).randn(*shape).astype("float32") for i in (0, 1))
    dynamics = DenseDynamics(3, hidden_units=4)
    found = dynamics(z, x[..., :2])
    inner = z @ dynamics.inner.kernel + dynamics.inner.bias + x[..., :2] @ dynamics.injection.kernel
    expected = np.tanh(inner) @ dynamics.outer.kernel + dynamics.outer.bias
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    again = DenseDynamics.from_config(dynamics.get_config())
    assert again(z).shape == shape and len(again.weights) == 4
    layer = HomoODE(DenseDynamics(3))
    assert layer(z).shape == shape
    with pytest.raises(ValueError, match=r"expects z of shape \(batch, ..., 4\)"):
        NeuralODE(DenseDynamics(4))(z)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions_over_any_number_of_axes(rank):
    x = tf.random.normal([2, *[4] * rank, 6])
    layer = HomoODE(ConvDynamics(6, rank=rank))
    assert layer.dynamics.groups == 3 and layer(x).shape == x.shape
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True))
    gradients = tape.gradient(loss, layer.dynamics.trainable_variables)
    assert all(np.all(np.isfinite(g)) for g in gradients)
    again = ConvDynamics.from_config(layer.dynamics.get_config())
    assert (again.rank, again.groups) == (rank, 3)
    other = rank % 3 + 1
    with pytest.raises(ValueError, match=f"or another rank than {other}"):
        HomoODE(ConvDynamics(6, rank=other))(x)


@pytest.mark.parametrize(("filters", "groups"), [(64, 32), (48, 24), (32, 16), (7, 1), (37, 1)])
def test_groups_are_chosen_to_fit(filters, groups):
    assert ConvDynamics(filters).groups == groups


def functional(*names, time_shape=()):
    inputs = [keras.Input(time_shape if n == "t" else (2,), name=n) for n in names]
    total = keras.layers.Add()([i for i in inputs if i.name != "t"] * 2)
    y = keras.layers.Dense(2, activation="tanh")(total)
    if "t" in names:
        y = keras.layers.Lambda(lambda a: a[0] * keras.ops.reshape(a[1], (-1, 1)))([y, inputs[0]])
    return keras.Model(inputs, y)


@pytest.mark.parametrize("step_control", ["batch", "sample"])
@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (HomoODE, ("z", "x")),
        (HomoODE, ("t", "z", "x")),
        (NeuralODE, ("t", "z")),
        (NeuralODE, ("z",)),
    ],
)
def test_functional_models(cls, names, step_control):
    model = functional(*names)
    layer = cls(model, step_control=step_control)
    x = tf.constant([[0.5, -1.0], [1.0, 0.3]])
    with tf.GradientTape() as tape:
        found = layer(x)
        loss = tf.reduce_sum(found)
    assert all(g is not None for g in tape.gradient(loss, model.trainable_variables))

    class Same(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.model = model

        def call(self, t, z, x=None):
            tensors = {"t": tf.reshape(t, [-1]) + tf.zeros([2]), "z": z, "x": x}
            arguments = [tensors[name] for name in names]
            return self.model(arguments if len(arguments) > 1 else arguments[0])

    class SameAutonomous(Same):
        def call(self, z, x=None):
            return super().call(0.0, z, x)

    reference = cls(Same() if "t" in names else SameAutonomous(), step_control=step_control)
    np.testing.assert_allclose(found, reference(x), rtol=1e-4, atol=1e-5)


def test_a_layer_with_a_functional_model_is_saved(tmp_path):
    model = keras.Sequential([keras.Input((2,)), HomoODE(functional("z", "x"))])
    x = np.ones((3, 2), "float32")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5)


def test_a_function_with_its_variables_trains():
    rate = keras.Variable([0.1, 0.2], name="rate")
    layer = NeuralODE(FunctionDynamics(lambda t, z: -rate * z + 0.0 * t, [rate]))
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile("sgd", "mse")
    assert [w.name for w in model.trainable_weights] == ["rate"]
    model.fit(np.ones((4, 2)), np.zeros((4, 2)), verbose=0)
    assert np.all(rate.numpy() > [0.1, 0.2])
    with pytest.raises(ValueError, match="cannot be saved: write it as a keras.layers.Layer"):
        layer.get_config()


def test_a_sequential_model():
    dense = keras.layers.Dense(2)
    layer = NeuralODE(keras.Sequential([keras.Input((2,)), dense]))
    x = tf.constant([[0.5, -1.0], [1.0, 0.3]])
    np.testing.assert_array_equal(layer(x), NeuralODE(dense)(x))
    with pytest.raises(ValueError, match=r"must have call\(self, z, x\)"):
        HomoODE(keras.Sequential([keras.Input((2,)), dense]))


def test_what_is_no_dynamics_is_refused():
    with pytest.raises(ValueError, match=r"must have the inputs \(z, x\) or \(t, z, x\), .* got"):
        HomoODE(functional("a", "b", "c"))
    with pytest.raises(ValueError, match=r"must have the inputs \(z\) or \(t, z\)"):
        NeuralODE(functional("a", "b"))
    with pytest.raises(ValueError, match="homoode_tf.layers.FunctionDynamics"):
        NeuralODE(lambda z: z)
    with pytest.raises(ValueError, match=r"must have call\(self, z, x\)"):
        HomoODE(FunctionDynamics(lambda z: z))
    with pytest.raises(ValueError, match="variables must be a list of keras.Variable"):
        FunctionDynamics(lambda z: z, [tf.Variable(1.0)])
    rate = keras.Variable(0.5, name="rate")
    with pytest.raises(ValueError, match="uses the variable 'rate"):
        NeuralODE(FunctionDynamics(lambda z: rate * z))(tf.ones([1, 2]))
