# SPDX-License-Identifier: Apache-2.0
"""What a classifier is worth: on validation, on the test split, and under noise."""

import os
from typing import Any

import numpy as np
from scipy.special import log_softmax
from sklearn.metrics import confusion_matrix

from homoode_tf import data
from homoode_tf.data.settings import DataSettings
from homoode_tf.layers.serving_scope import serving_scope
from homoode_tf.models import ImageClassifier
from homoode_tf.models.weights import Card

# Deviations of Gaussian noise on pixels of 0..1.
NOISE = (0.05, 0.1, 0.2)
_BATCH = 100


def images_of(card: Card, data_dir: str | os.PathLike | None = None) -> data.ImageData:
    """Opens what weights were trained on, divided as it was then; raises what `data.load` does."""
    given = {name: value for name, value in card.recipe.items() if name in data.FIELDS}
    settings = DataSettings(card.dataset, **given)
    fields = {name: getattr(settings, name) for name in data.FIELDS}
    return data.load(card.dataset, data_dir=data_dir, **fields)


def measure(model: ImageClassifier, images: data.ImageData) -> dict[str, Any]:
    """Measures a classifier as it is served: no answer depends on the images beside it.

    Args:
        model: It must not have been called by `predict` before.
        images: What it was trained on, divided as it was then.

    Returns:
        `examples`, `accuracy` in 0..1 and `loss` in nats of both splits as `validation_examples`
        and so on; `confusion`, the test images of class i that were given class j; and `noise`, the
        accuracy on test images whose pixels have Gaussian noise of a deviation, cut to 0..255. The
        noise is the same each time.
    """
    found: dict[str, Any] = {}
    for split in ("validation", "test"):
        batches = images.evaluation_batches(split, _BATCH).as_numpy_iterator()
        pixels, labels = map(np.concatenate, zip(*batches, strict=True))
        pixels = pixels.astype(np.float32)
        logits = _answers(model, pixels)
        given = logits.argmax(-1)
        found |= {
            f"{split}_examples": len(labels),
            f"{split}_accuracy": float(np.mean(given == labels)),
            f"{split}_loss": float(-np.mean(log_softmax(logits, -1)[range(len(labels)), labels])),
        }
    classes = range(images.info.num_classes)
    found["confusion"] = confusion_matrix(labels, given, labels=classes).tolist()
    found["noise"] = {}
    for deviation in NOISE:
        noise = np.random.default_rng(0).standard_normal(pixels.shape, np.float32)
        given = _answers(model, np.clip(pixels + 255 * deviation * noise, 0, 255)).argmax(-1)
        found["noise"][str(deviation)] = float(np.mean(given == labels))
    return found


def accuracies(measured: dict[str, Any]) -> dict[str, float]:
    """Returns all accuracies of what `measure` gave, under names to show."""
    return {
        "validation": measured["validation_accuracy"],
        "test": measured["test_accuracy"],
        **{f"test with noise {deviation}": value for deviation, value in measured["noise"].items()},
    }


def _answers(model: ImageClassifier, pixels: np.ndarray) -> np.ndarray:
    with serving_scope("sample"):
        return model.predict(pixels, batch_size=_BATCH, verbose=0)
