# SPDX-License-Identifier: Apache-2.0
"""Inputs without channels, of integers, complex, ragged, sparse: right, or refused by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.layers import DEQ, AugmentedNeuralODE, FunctionDynamics, HomoODE, NeuralODE

POINTS = ("zeros", "alternating", "learned", "running_mean", "input")


def make(kind, **options):
    if kind is DEQ:
        return DEQ(FunctionDynamics(lambda z, x: 0.5 * (z + x)), **options)
    if kind is HomoODE:
        return HomoODE(FunctionDynamics(lambda z, x: x - z), **options)
    return kind(FunctionDynamics(lambda z: -z), **options)


@pytest.mark.parametrize("kind", [HomoODE, DEQ])
@pytest.mark.parametrize("point", POINTS)
def test_a_batch_of_numbers_has_one_initial_point(kind, point):
    layer = make(kind, initial_point=point)
    for size in (5, 3):
        for _ in range(2):
            y = layer(tf.ones([size]), training=True).numpy()
            assert y.shape == (size,) and np.ptp(y) == 0.0
    if point != "input":
        assert np.shape(layer.initial_point.value) == ()
    layer = make(kind, initial_point=point)
    assert keras.Sequential([keras.Input(()), layer]).output_shape == (None,)


def test_of_a_nest_each_tensor_has_channels_of_its_own_or_none():
    layer = HomoODE(FunctionDynamics(lambda z, x: {k: x[k] - z[k] for k in x}))
    y = layer({"a": tf.ones([5, 2]), "b": tf.ones([5])})
    assert np.ptp(y["b"]) == 0.0 and y["a"].shape == (5, 2) and np.ptp(y["a"], axis=0).max() == 0.0


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("extra_channels", lambda: make(AugmentedNeuralODE, extra_channels=2)),
        ("state_channels", lambda: make(HomoODE, state_channels=3)),
        ("state_channels", lambda: make(DEQ, state_channels=3)),
    ],
)
def test_channels_need_an_axis(name, make):
    with pytest.raises(ValueError, match=rf"{name} needs inputs of shape .*got \(5,\)"):
        make()(tf.ones([5]))


LAYERS = [NeuralODE, HomoODE, DEQ]


@pytest.mark.parametrize("kind", LAYERS)
def test_complex_inputs_and_slopes_are_refused(kind):
    z = tf.complex(tf.ones([2, 3]), tf.ones([2, 3]))
    for call in (make(kind), make(kind).solve):
        with pytest.raises(TypeError, match="inputs must be real, got complex64"):
            call(z)
    function = lambda z, x=None: tf.signal.fft(tf.complex(z, z))  # noqa: E731
    with pytest.raises((TypeError, ValueError), match="must be real|complex"):
        kind(FunctionDynamics(function))(tf.ones([2, 3]))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    "inputs", [tf.ragged.constant([[1.0], [1.0, 2.0]]), tf.sparse.from_dense([[1.0, 0.0]])]
)
def test_ragged_and_sparse_inputs_are_refused(kind, inputs):
    with pytest.raises(TypeError, match="inputs must be dense, got a (Ragged|Sparse)Tensor"):
        make(kind).solve(inputs)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_integers_that_half_precision_would_round_are_refused(policy):
    class Embedded(keras.layers.Layer):
        def build(self, z_shape, x_shape):
            self.table = self.add_weight(shape=(2000,), initializer="zeros")

        def call(self, z, x):
            return z * 0.0 + tf.gather(tf.convert_to_tensor(self.table), tf.cast(x, tf.int32))

    ids = tf.constant([[1001]])
    with pytest.raises(TypeError, match="float16 rounds inputs of int32"):
        HomoODE(Embedded(dtype=policy), dtype=policy)(ids)
    layer = HomoODE(Embedded())
    with tf.GradientTape() as tape:
        y = layer(ids)
    assert np.flatnonzero(tape.gradient(y, layer.dynamics.table.value)).tolist() == [1001]
    # What eight bits hold, images say, is exact.
    assert make(NeuralODE, dtype=policy)(tf.ones([2, 3], tf.uint8)).shape == (2, 3)
