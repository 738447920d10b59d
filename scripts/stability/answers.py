# SPDX-License-Identifier: Apache-2.0
"""What a trained classifier answers: for each image what it would be without batch mates."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from homoode_tf.layers import ODELayer
from homoode_tf.solvers import RungeKutta
from scripts.trained import batches_of

Classify = Callable[[tf.Tensor], tf.Tensor]


def solver_of_each(layer: keras.layers.Layer, **changes: Any) -> Any:
    """The layer's solver with steps of each sample's own, and exact gradients.

    Args:
        layer: An implicit layer. A deq's solver treats samples alone, and its implicit gradient is
            as exact as its tolerance.
        **changes: Other settings, such as rtol.
    """
    if not isinstance(layer, ODELayer):
        return type(layer.solver).from_config({**layer.solver.get_config(), **changes})
    if isinstance(layer.solver, RungeKutta) and layer.solver.adaptive:
        changes = {"step_control": "sample", **changes}
    return layer.solver.replace(gradient="backprop", **changes)


def classifier(model: keras.Model, solver: Any = None, **solve: Any) -> Classify:
    """A function from images in 0..255, float32, to logits.

    Args:
        model: The trained classifier.
        solver: Another solver than that of `solver_of_each`.
        **solve: Other arguments of the layer's `solve`, such as times.
    """
    solver = solver_of_each(model.implicit) if solver is None else solver

    @tf.function(autograph=False, reduce_retracing=True)
    def classify(images):
        solution = model.implicit.solve(model.condition(images), solver=solver, **solve)
        return model.head(solution.final_state, training=False)

    return classify


def logits_of(classify: Classify, images: np.ndarray) -> np.ndarray:
    """Logits of images, uint8 or float32, of shape (images, classes)."""
    images = np.asarray(images, np.float32)
    return np.concatenate([classify(*batch) for batch in batches_of(images)])


def accuracy(classify: Classify, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of the images whose largest logit is their label's."""
    return float(np.mean(np.argmax(logits_of(classify, images), axis=1) == labels))
