# SPDX-License-Identifier: Apache-2.0
"""A mask of positions passes through every layer that maps positions to positions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import layers, solvers
from tests.layers.vector_fields import DenseDynamics


@keras.saving.register_keras_serializable(package="homoode_tf_tests")
class WithoutMask(DenseDynamics):
    """Dynamics that must not see a mask: it would in those evaluations alone that get the input."""

    def call(self, z, x=None, mask=None):
        assert mask is None
        assert not any(hasattr(y, "_keras_mask") for y in (z, x))
        return super().call(z, x)


LAYERS = {
    "neural_ode": lambda: layers.NeuralODE(WithoutMask(4)),
    "residual": lambda: layers.NeuralODE(WithoutMask(4), solvers.get("euler", num_steps=2)),
    "augmented": lambda: layers.AugmentedNeuralODE(WithoutMask(6), extra_channels=2),
    "homoode": lambda: layers.HomoODE(WithoutMask(4)),
    "homoode_from_input": lambda: layers.HomoODE(WithoutMask(4), initial_point="input"),
    "deq": lambda: layers.DEQ(WithoutMask(4), on_failure="return"),
}
IDS = np.array([[3, 1, 0, 0], [2, 0, 4, 0], [1, 2, 3, 4]])


@pytest.mark.filterwarnings("error:.*mask:UserWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_a_sequence_is_masked_as_by_hand(name, tmp_path):
    layer, recurrent = LAYERS[name](), keras.layers.LSTM(3)
    embedding = keras.layers.Embedding(9, 4, mask_zero=True)
    model = keras.Sequential([keras.Input((4,)), embedding, layer, recurrent])
    found = model(IDS)
    positions = layer(tf.convert_to_tensor(embedding(IDS).numpy()))
    expected = recurrent(positions, mask=tf.constant(IDS != 0))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    assert np.abs(found - recurrent(positions)).max() > 1e-4
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "model.keras")(IDS), found)


@pytest.mark.filterwarnings("error:.*mask:UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.NeuralODE(layers.ConvDynamics(4, groups=2)),
        lambda: layers.ConvDynamics(4, groups=2),
        lambda: layers.GroupNormalization(2),
        lambda: layers.VariationalDropout(0.5),
    ],
    ids=["image layer", "dynamics", "norm", "dropout"],
)
def test_an_image_is_masked(make):
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype("float32")
    x[:, 1] = 0.0
    masked = keras.layers.Masking()(x)
    np.testing.assert_array_equal(make()(masked)._keras_mask, masked._keras_mask)
