# SPDX-License-Identifier: Apache-2.0
"""From a config to a classifier."""

from collections.abc import Mapping, Sequence
from typing import Any

from homoode_tf.models.classifier import ImageClassifier
from homoode_tf.models.head import Head
from homoode_tf.models.implicit import extra_channels, make_layer, resolve_layer
from homoode_tf.models.settings import ModelSettings
from homoode_tf.models.stem import Stem


def build(
    config: ModelSettings | Mapping[str, Any],
    image_shape: Sequence[int],
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    precision: str = "float32",
    class_names: Sequence[str] = (),
) -> ImageClassifier:
    """Builds the image classifier that a config describes, with its weights made.

    Args:
        config: The settings, or what `config.model` of a file in `configs/` is: a mapping from the
            fields of `ModelSettings` to values. Those that are absent have their defaults.
        image_shape: (height, width, channels) of the images.
        num_classes: Number of classes.
        mean: Mean of each image channel, in units of pixels scaled to 0..1.
        std: Standard deviation of each image channel, in the same units.
        precision: Keras dtype policy of all layers. Under "mixed_bfloat16" the convolutions compute
            in bfloat16; weights, states, moments and logits stay float32.
        class_names: Names of the classes, for those who load the model; none if not known.

    Returns:
        A built `ImageClassifier`.

    Raises:
        InvalidValueError: If a field is unknown, or has a value that is not allowed.

    Example:
        >>> from configs import cifar10
        >>> model = build(cifar10.get_config().model, (32, 32, 3), 10, (0.5,) * 3, (0.25,) * 3)
        >>> model.task_parameters, model.initial_point_parameters
        (132938, 64)
    """
    if not isinstance(config, ModelSettings):
        config = ModelSettings.from_config(config, "config.model")
    settings = config
    batch_norm = (settings.batch_norm_momentum, settings.synchronized_batch_norm)
    layer = resolve_layer(settings)
    # In the order of the data: each part draws its seed when it is made.
    stem = Stem(
        settings.channels - extra_channels(settings, layer),
        settings.stem_strides,
        *batch_norm,
        dtype=precision,
        name="stem",
    )
    implicit = make_layer(settings, layer, precision)
    head = Head(
        settings.head_channels,
        num_classes,
        settings.groups,
        *batch_norm,
        dtype=precision,
        name="head",
    )
    model = ImageClassifier(stem, implicit, head, mean, std, class_names)
    model.build((None, *image_shape))
    return model
