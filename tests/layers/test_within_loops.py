# SPDX-License-Identifier: Apache-2.0
"""Implicit layers within loops that are not ours: those of Keras's recurrent layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import layers
from tests import slow

# A HomoODE's state goes through a loop as its condition, and it adds a loss of its own.
_MODES = {
    "NeuralODE": ("checkpoint", "adjoint"),
    "HomoODE": ("checkpoint", "adjoint", "backprop"),
    "DEQ": ("implicit", "phantom", "jacobian_free"),
}
CASES = [(kind, modes[0]) for kind, modes in _MODES.items()]
CASES += [slow(kind, mode) for kind, modes in _MODES.items() for mode in modes[1:]]
UNITS = 3


@keras.saving.register_keras_serializable(package="tests_within_loops")
class Field(keras.layers.Layer):
    """A small contraction."""

    def build(self, z_shape, x_shape=None):
        self.dense = keras.layers.Dense(UNITS, activation="tanh")
        self.dense.build(z_shape)

    def call(self, z, x=None):
        image = 0.3 * self.dense(z)
        return image - z if x is None else image + x


def make(kind, mode, **settings):
    settings |= {"rtol": 1e-5, "atol": 1e-5}  # the steps remembered are others when unrolled
    settings |= {"initial_point": "learned"} if kind == "DEQ" else {"solver": "heun_euler"}
    return getattr(layers, kind)(Field(), gradient=mode, **settings)


@keras.saving.register_keras_serializable(package="tests_within_loops")
class ODECell(keras.layers.Layer):
    """An ODE-RNN: the state runs through an implicit layer between two observations."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer
        self.update = keras.layers.GRUCell(UNITS)
        self.state_size = self.output_size = UNITS

    def build(self, input_shape):
        self.update.build(input_shape)
        self.layer.build((input_shape[0], UNITS))

    def call(self, inputs, states, training=False):
        state = self.layer(self.layer(states[0], training=training), training=training)
        return self.update(inputs, [state])

    def get_config(self):
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("layer")), **config)


@pytest.fixture(scope="module")
def sequences():
    x = np.random.default_rng(0).normal(size=(4, 2, 2)).astype("float32")
    return x, x.sum((1, 2))[:, np.newaxis]


@pytest.mark.parametrize(("kind", "mode"), CASES)
def test_gradient_within_rnn(kind, mode, sequences):
    """That of the unrolled loop, the losses that the layer adds included."""

    def gradients(unroll):
        keras.utils.set_random_seed(0)
        rnn = keras.layers.RNN(ODECell(make(kind, mode)), unroll=unroll)
        rnn.build(sequences[0].shape)

        @tf.function
        def differentiate():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(rnn(sequences[0], training=True) ** 2)
                if unroll:  # within the loop they are trained where they are made
                    loss += tf.add_n([tf.constant(0.0), *rnn.losses])
            return tape.gradient(loss, [v.value for v in rnn.trainable_variables])

        return differentiate()

    rolled, unrolled = gradients(False), gradients(True)
    for found, expected in zip(rolled, unrolled, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("wrapper", "kind"), [slow("bidirectional", "HomoODE"), ("time_distributed", "NeuralODE")]
)
def test_fit_within_wrappers(wrapper, kind, sequences):
    layer = make(kind, _MODES[kind][0])
    if wrapper == "bidirectional":
        parts = [keras.layers.Bidirectional(keras.layers.RNN(ODECell(layer)))]
    else:
        parts = [keras.layers.Dense(UNITS), keras.layers.TimeDistributed(layer)]
        parts += [keras.layers.GRU(UNITS)]
    model = keras.Sequential([*parts, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.03), "mse")
    history = model.fit(*sequences, epochs=6, batch_size=4, verbose=0).history["loss"]
    assert history[-1] < history[0]


class Branching(keras.Model):
    """An implicit layer in a branch."""

    def __init__(self, layer, kind):
        super().__init__()
        self.layer, self.kind = layer, kind
        self.dense = keras.layers.Dense(UNITS)

    def call(self, x, training=False):
        y = self.dense(x)
        solved, plain = lambda: self.layer(y, training=training), lambda: tf.identity(y)
        first = tf.reduce_mean(x) > 100.0
        if self.kind == "cond":
            return tf.cond(first, plain, solved)
        if self.kind == "case":
            return tf.case([(first, plain)], default=solved)
        return tf.switch_case(1 - tf.cast(first, tf.int32), [plain, solved])


BRANCHES = [("HomoODE", "checkpoint", "cond"), ("DEQ", "implicit", "switch_case")]
# Each layer in each kind of branch, and each mode in one.
_KINDS = ("case", "switch_case", "cond")
BRANCHES += [
    slow(layer, modes[number % len(modes)], _KINDS[number])
    for layer, modes in _MODES.items()
    for number in range(len(_KINDS))
]


@pytest.mark.parametrize(("layer", "mode", "kind"), BRANCHES)
def test_trained_within_a_branch(layer, mode, kind):
    """As without one; the losses that the layer adds count as well."""
    x = np.random.default_rng(0).normal(size=(4, UNITS)).astype("float32")
    weights = []
    for branching in (True, False):
        keras.utils.set_random_seed(0)
        implicit = make(layer, mode)
        model = Branching(implicit, kind)
        if not branching:
            model = keras.Sequential([model.dense, implicit])
        model(x)
        if branching:
            start = [w.numpy() for w in (*model.dense.weights, *implicit.trainable_weights)]
        else:
            trained = [*model.layers[0].weights, *implicit.trainable_weights]
            for weight, value in zip(trained, start, strict=True):
                weight.assign(value)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(x, np.zeros_like(x), epochs=2, verbose=0)
        dense = model.dense if branching else model.layers[0]
        weights.append([w.numpy() for w in (*dense.weights, *implicit.trainable_weights)])
    for found, expected, begin in zip(*weights, start, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        assert np.abs(found - begin).max() > 1e-6
