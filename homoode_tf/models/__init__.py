# SPDX-License-Identifier: Apache-2.0
"""Image classifiers around an implicit layer: image -> stem -> implicit layer -> head -> logits."""

from homoode_tf.models.builder import build
from homoode_tf.models.classifier import ImageClassifier
from homoode_tf.models.head import Head
from homoode_tf.models.settings import DYNAMICS, LAYERS, ModelSettings
from homoode_tf.models.stem import Stem
from homoode_tf.models.weights import pretrained, pretrained_card, pretrained_names
from homoode_tf.settings import MissingFieldError

__all__ = [
    "DYNAMICS",
    "LAYERS",
    "Head",
    "ImageClassifier",
    "MissingFieldError",
    "ModelSettings",
    "Stem",
    "build",
    "pretrained",
    "pretrained_card",
    "pretrained_names",
]
