# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.training.optimizers.muon import ConvMuon


def step(optimizer, value, gradient):
    variable = keras.Variable(value)
    optimizer.build([variable])
    optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
    return variable.numpy()


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return [random.normal(size=(3, 3, 8, 16)).astype(np.float32) for _ in range(2)]


def test_moves_a_kernel_along_its_orthogonalised_gradient(arrays):
    """The polar factor U V^T of the gradient, from a singular value decomposition."""
    kernel, gradient = arrays
    moved = step(ConvMuon(0.01, weight_decay=None), kernel, gradient)
    left, _, right = np.linalg.svd(gradient.reshape(-1, 16), full_matrices=False)
    polar = (left @ right).reshape(kernel.shape)
    change = moved - kernel
    # Keras's five Newton-Schulz steps bring the singular values between 0.7 and 1.2, not to 1.
    cosine = -np.sum(change * polar) / np.linalg.norm(change) / np.linalg.norm(polar)
    assert cosine > 0.9
    assert np.linalg.norm(change) == pytest.approx(0.01 * np.linalg.norm(kernel), rel=0.25)


def test_keeps_the_norm_of_a_kernel(arrays):
    kernel, gradient = arrays
    moved = step(ConvMuon(0.3, weight_decay=None), kernel, gradient)
    assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(kernel), rel=1e-5)


@pytest.mark.parametrize("shape", [(16,), (16, 10), (3, 3, 3, 16)])
def test_leaves_the_rest_to_adam(shape):
    value, gradient = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    muon = ConvMuon(0.1, adam_lr_ratio=0.01, adam_weight_decay=None, epsilon=1e-8)
    expected = step(keras.optimizers.Adam(0.001, epsilon=1e-8), value, gradient)
    np.testing.assert_allclose(step(muon, value, gradient), expected, rtol=1e-5, atol=1e-7)


def test_config_round_trip():
    optimizer = ConvMuon(0.1, smallest_input=4, momentum=0.8)
    again = ConvMuon.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
