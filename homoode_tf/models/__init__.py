# SPDX-License-Identifier: Apache-2.0
"""Image classifiers around an implicit layer: image -> stem -> implicit layer -> head -> logits."""

from homoode_tf.models.builder import LAYERS, build
from homoode_tf.models.classifier import ImageClassifier
from homoode_tf.models.fields import MissingFieldError
from homoode_tf.models.head import Head
from homoode_tf.models.stem import Stem

__all__ = ["LAYERS", "Head", "ImageClassifier", "MissingFieldError", "Stem", "build"]
