# SPDX-License-Identifier: Apache-2.0
"""What moves in an augmented state, and what can be read from which of its parts."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from homoode_tf.layers import AugmentedNeuralODE
from homoode_tf.plot import Trajectory, follow
from scripts.trained import Trained, batches_of

PARTS = {"x": "x-part", "u": "augmented part"}


def split(states: np.ndarray, channels: int) -> dict[str, np.ndarray]:
    """The parts of states of shape (..., channels in all): "x" and "u"."""
    return {"x": states[..., :channels], "u": states[..., channels:]}


def way(run: Trained, layer: AugmentedNeuralODE, images: np.ndarray) -> Trajectory:
    """The solution of some images at equidistant times."""
    return follow(layer, run.model.condition(tf.constant(images))).curve


def movement(curve: Trajectory, channels: int) -> dict[str, Any]:
    """How far each part gets, in units of rms(x(0)) of all images together.

    Returns:
        "times", and for each part "distance", the median over the images of rms(z(t) - z(0)) at
        these times, and "length", that of the whole way's length in the same norm.
    """
    # Of a part as a whole: a mean over all of its elements.
    axes = tuple(range(2, curve.states.ndim))
    unit = np.sqrt(np.mean(split(curve.states[0], channels)["x"] ** 2))
    found: dict[str, Any] = {"times": curve.times.tolist()}
    for name, states in split(curve.states, channels).items():
        distance = np.sqrt(np.mean((states - states[:1]) ** 2, axis=axes)) / unit
        steps = np.sqrt(np.mean(np.diff(states, axis=0) ** 2, axis=axes)) / unit
        found[name] = {
            "distance": np.median(distance, axis=1).tolist(),
            "length": float(np.median(steps.sum(axis=0))),
        }
    return found


def ends(model: keras.Model, layer: AugmentedNeuralODE, images: np.ndarray) -> dict[str, Any]:
    """For images, "start" and "end", z(0) and z(T), and "evaluations", a mean over batches."""

    @tf.function(autograph=False)
    def solve(images):
        condition = model.condition(images)
        solution = layer.solve(condition)
        return layer.initial_state(condition), solution.final_state, solution.num_evaluations

    starts, finals, counts = zip(*(solve(*batch) for batch in batches_of(images)), strict=True)
    return {
        "start": np.concatenate(starts),
        "end": np.concatenate(finals),
        "evaluations": float(np.mean(counts)),
    }


def pooled(states: np.ndarray) -> np.ndarray:
    """The mean over positions, of shape (images, channels)."""
    return states.mean(axis=tuple(range(1, states.ndim - 1)))


def probe(train: np.ndarray, labels: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """Test accuracy of a logistic regression on features of shape (images, features)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return float(model.fit(train, labels).score(test, truth))


def head_accuracy(model: keras.Model, states: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy of the model's own head on final states."""
    logits = [model.head(some, training=False) for (some,) in batches_of(states)]
    return float(np.mean(np.argmax(np.concatenate(logits), axis=1) == labels))


def reading(
    model: keras.Model,
    layer: AugmentedNeuralODE,
    channels: int,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """What can be read from the parts of z(T), by linear probes and by the model's own head.

    Args:
        model: The classifier.
        layer: Its layer, or that with its input held.
        channels: Of the x-part.
        train: Images and labels for the probes.
        test: Images and labels that are judged.

    Returns:
        "probe", accuracies from the pooled parts; "head", accuracies of the head on z(T) whole and
        with one part at its mean over the training images; "evaluations" of a batch.
    """
    solved = [ends(model, layer, images) for images, _ in (train, test)]
    features = [_features(each, channels) for each in solved]
    labels, truth = train[1], test[1]
    final, mean = solved[1]["end"], solved[0]["end"].mean(axis=0, keepdims=True)
    held_out = {}
    for part in PARTS:
        is_part = (np.arange(final.shape[-1]) < channels) == (part == "x")
        held_out[f"without {part}"] = np.where(is_part, mean, final)
    states: Mapping[str, np.ndarray] = {"whole": final, **held_out}
    return {
        "probe": {
            name: probe(features[0][name], labels, features[1][name], truth) for name in features[0]
        },
        "head": {name: head_accuracy(model, some, truth) for name, some in states.items()},
        "evaluations": solved[1]["evaluations"],
    }


def _features(solved: Mapping[str, np.ndarray], channels: int) -> dict[str, np.ndarray]:
    start, end = (split(pooled(solved[name]), channels) for name in ("start", "end"))
    return {"x(0)": start["x"], "x(T)": end["x"], "u(T)": end["u"], "both": pooled(solved["end"])}
