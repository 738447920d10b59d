# SPDX-License-Identifier: Apache-2.0
"""Small classifiers of the family with their SavedModels and what these were converted to."""

import functools
import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import solvers
from homoode_tf.layers import DEQ, ConvDynamics, HomoODE, NeuralODE
from homoode_tf.models.classifier import ImageClassifier
from homoode_tf.models.head import Head
from homoode_tf.models.stem import Stem
from homoode_tf.serving import export
from homoode_tf.serving.convert import FORMATS, convert


def bosh3(dynamics):
    return HomoODE(dynamics, "bosh3", rtol=1e-2, atol=1e-2, gradient="backprop")


# Each layer with its dynamics to come, and how the export controls its steps.
LAYERS = {
    "rk4": (lambda dynamics: HomoODE(dynamics, solvers.get("rk4", num_steps=3)), "sample"),
    "bosh3 by sample": (bosh3, "sample"),
    "bosh3 by batch": (bosh3, "batch"),
    "NeuralODE": (
        lambda dynamics: NeuralODE(dynamics, "heun_euler", gradient="checkpoint"),
        "sample",
    ),
    "DEQ": (lambda dynamics: DEQ(dynamics, "broyden", on_failure="return"), "sample"),
}


def skip_without(format):
    for package in FORMATS[format].PACKAGES:
        pytest.importorskip(package)


class Converted:
    """A classifier, its SavedModel, and files of it in other formats, each made when asked for."""

    def __init__(self, name, directory):
        layer, self.step_control = LAYERS[name]
        keras.utils.set_random_seed(0)
        stem, head = Stem(4, (1, 1), 0.9, False), Head(6, 10, 2, 0.9, False)
        # Weights, and a scale of the images, with which they need very different step sizes.
        self.model = ImageClassifier(stem, layer(ConvDynamics(4, groups=2)), head, [0.3], [0.02])
        self.model.build((None, 8, 8, 1))
        self.model(tf.zeros([16, 8, 8, 1]), training=True)
        if name != "DEQ":
            dynamics = self.model.implicit.dynamics
            for norm in (dynamics.norm1, dynamics.norm2):
                norm.gamma.assign(4.0 * norm.gamma)
        self.directory = directory
        self.saved_model = directory / "saved_model"
        export.save(self.model, self.saved_model, (8, 8, 1), step_control=self.step_control)

    @functools.cache  # noqa: B019, a handful of models that live as long as the tests
    def file(self, format):
        return convert(self.saved_model, self.directory / f"model.{format}", format).path

    @functools.cache  # noqa: B019, as above
    def expected(self, begin, end):
        """The Keras model's own logits of `IMAGES[begin:end]`, and its evaluations."""
        layer = self.model.implicit
        solver = layer.serving_solver(self.step_control)
        solution = layer.solve(self.model.condition(IMAGES[begin:end]), solver=solver)
        return self.model.head(solution.final_state).numpy(), int(solution.num_evaluations)


@pytest.fixture(scope="session")
def converted(tmp_path_factory):
    """Gives the `Converted` of a name in LAYERS."""
    return functools.cache(lambda name: Converted(name, tmp_path_factory.mktemp("converted")))


def different_images():
    """Seven images that need different numbers of steps."""
    images = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 1)).astype(np.uint8)
    images[1], images[3] = 0, 255
    images[5, ::2] = 0
    images[6] //= 16
    return images


IMAGES = different_images()


@pytest.fixture(scope="session", autouse=True)
def translates_once():
    """Has each SavedModel translated once, which takes seconds; the rest is done each time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in FORMATS.values():
            patch.setattr(module, "translate", functools.cache(module.translate))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_optimizer_fails():
    """Has tf2onnx raise what it would go over, and saves the copies it makes in case of it."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("tf2onnx"):
            from tf2onnx import optimizer

            quick = functools.partial(optimizer.optimize_graph, catch_errors=False)
            patch.setattr(optimizer, "optimize_graph", quick)
        yield
