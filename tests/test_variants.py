# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from configs import compare_variants, variants
from homoode_tf.compare import Experiment
from homoode_tf.layers import ConvDynamics, HomoODE

KINDS = [variants.Variant, *compare_variants._DYNAMICS.values()]


@pytest.fixture(scope="module")
def outputs():
    """For each kind F(z; x), F(z; 0) and F of x times two, all of the same weights, at t = 0."""
    random = np.random.default_rng(0)
    z, x = (random.normal(size=(2, 5, 5, 4)) for _ in range(2))
    kernels = [random.normal(size=(3, 3, 4, 4)) for _ in range(2)]
    found = {}
    for kind in (ConvDynamics, *KINDS):
        layer = kind(4, groups=2, dtype="float64")
        time = [tf.constant(0.0, tf.float64)] if kind is variants.Timed else []
        layer.build(*[()] * len(time), z.shape, x.shape)
        layer.conv1.kernel.assign(kernels[0])
        layer.conv2.kernel.assign(kernels[1])
        conditions = {"x": x, "0": np.zeros_like(x), "2x": 2.0 * x}
        found[kind] = {n: layer(*time, z, tf.constant(c)).numpy() for n, c in conditions.items()}
    return z, found


@pytest.mark.parametrize("kind", [variants.Variant, variants.Gated, variants.Timed])
def test_begins_as_the_papers(outputs, kind):
    _, found = outputs
    for name, value in found[ConvDynamics].items():
        np.testing.assert_allclose(found[kind][name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [variants.Before, variants.Both, variants.Normalized])
def test_differs_by_where_the_condition_enters_alone(outputs, kind):
    _, found = outputs
    np.testing.assert_allclose(found[kind]["0"], found[ConvDynamics]["0"], atol=1e-12)
    assert np.abs(found[kind]["x"] - found[ConvDynamics]["x"]).max() > 0.01


def test_each_as_its_formula_says(outputs):
    z, found = outputs
    paper = found[ConvDynamics]
    np.testing.assert_allclose(found[variants.Residual]["x"], paper["x"] - z, atol=1e-12)
    # A normalised condition knows no size.
    normalized = found[variants.Normalized]
    np.testing.assert_allclose(normalized["2x"], normalized["x"], rtol=1e-3, atol=1e-4)
    # The paper's F is the group norm of this one.
    last = found[variants.NoLastNorm]["x"].reshape(2, 25, 2, 2)
    mean, variance = last.mean((1, 3), keepdims=True), last.var((1, 3), keepdims=True)
    expected = ((last - mean) / np.sqrt(variance + 1e-5)).reshape(paper["x"].shape)
    np.testing.assert_allclose(paper["x"], expected, rtol=1e-9, atol=1e-9)
    assert np.isfinite(found[variants.PreActivation]["x"]).all()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_is_saved_and_loaded(kind, tmp_path):
    layers = [keras.Input((4, 4, 4)), HomoODE(kind(4, groups=2), solver="rk4", num_steps=1)]
    model = keras.Sequential(layers)
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 4)).astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))


def test_parameters_are_the_papers(tmp_path):
    experiment = Experiment(compare_variants.get_config(), tmp_path)
    assert len(experiment.model_names) == 22
    assert {p for p, _ in experiment.parameters.values()} <= set(range(132938, 133067))
