# SPDX-License-Identifier: Apache-2.0
"""From a config to a classifier."""

from collections.abc import Mapping, Sequence

import keras

from homoode_tf import solvers
from homoode_tf.layers import DEQ, AugmentedNeuralODE, ConvDynamics, HomoODE, NeuralODE
from homoode_tf.models.classifier import ImageClassifier
from homoode_tf.models.head import Head
from homoode_tf.models.initializers import kernel_initializer
from homoode_tf.models.stem import Stem


def build(
    config: Mapping,
    image_shape: Sequence[int],
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    precision: str = "float32",
) -> ImageClassifier:
    """Builds the image classifier that a config describes, with its weights made.

    Args:
        config: `config.model` of a file in `configs/`: `layer` (one of `LAYERS`), `channels` of
            the state, `head_channels`, `stem_strides`, `groups`, `dropout_rate`,
            `batch_norm_momentum`, `solver`, `gradient`, and what the layer needs of `rtol`, `atol`,
            `final_time`, `step_control`, `initial_point`, `extra_channels` (which the stem leaves
            out), `num_steps`, `max_num_iterations`, `jacobian_weight`. `synchronized_batch_norm`
            may be absent, as in configs of runs made before it was.
        image_shape: (height, width, channels) of the images.
        num_classes: Number of classes.
        mean: Mean of each image channel, in units of pixels scaled to 0..1.
        std: Standard deviation of each image channel, in the same units.
        precision: Keras dtype policy of all layers. Under "mixed_bfloat16" the convolutions compute
            in bfloat16; weights, states, moments and logits stay float32.

    Returns:
        A built `ImageClassifier`.

    Raises:
        ValueError: If a field has a value that is not allowed.

    Example:
        >>> from configs import cifar10
        >>> model = build(cifar10.get_config().model, (32, 32, 3), 10, (0.5,) * 3, (0.25,) * 3)
        >>> model.task_parameters, model.initial_point_parameters
        (132938, 64)
    """
    if config["layer"] not in LAYERS:
        raise ValueError(
            f"config.model.layer must be one of {', '.join(LAYERS)}, got {config['layer']!r}."
        )
    batch_norm = (config["batch_norm_momentum"], config.get("synchronized_batch_norm", False))
    extra_channels = config["extra_channels"] if config["layer"] == "augmented_neural_ode" else 0
    if not 0 <= extra_channels < config["channels"]:
        raise ValueError(
            f"config.model.extra_channels must be at least 0 and below channels="
            f"{config['channels']}, got {extra_channels}."
        )
    stem = Stem(
        config["channels"] - extra_channels,
        config["stem_strides"],
        *batch_norm,
        dtype=precision,
        name="stem",
    )
    dynamics = ConvDynamics(
        config["channels"],
        groups=config["groups"],
        dropout_rate=config["dropout_rate"],
        kernel_initializer=kernel_initializer(),
        dtype=precision,
        name="dynamics",
    )
    implicit = LAYERS[config["layer"]](config, dynamics, dtype=precision, name="implicit")
    head = Head(
        config["head_channels"],
        num_classes,
        config["groups"],
        *batch_norm,
        dtype=precision,
        name="head",
    )
    model = ImageClassifier(stem, implicit, head, mean, std)
    model.build((None, *image_shape))
    return model


def _pick(config: Mapping, *names: str) -> dict:
    return {name: config[name] for name in names}


_ODE = ("solver", "rtol", "atol", "final_time", "gradient", "step_control")


def _homoode(config: Mapping, dynamics: keras.layers.Layer, **options) -> HomoODE:
    return HomoODE(dynamics, **_pick(config, *_ODE, "initial_point"), **options)


def _neural_ode(config: Mapping, dynamics: keras.layers.Layer, **options) -> NeuralODE:
    return NeuralODE(dynamics, **_pick(config, *_ODE), **options)


def _augmented(config: Mapping, dynamics: keras.layers.Layer, **options) -> AugmentedNeuralODE:
    return AugmentedNeuralODE(dynamics, **_pick(config, *_ODE, "extra_channels"), **options)


def _deq(config: Mapping, dynamics: keras.layers.Layer, **options) -> DEQ:
    names = ("solver", "rtol", "atol", "gradient", "initial_point")
    return DEQ(
        dynamics,
        **_pick(config, *names, "max_num_iterations", "jacobian_weight"),
        on_failure="return",  # a warning for every batch would tell no more than the residual
        **options,
    )


def _resnet(config: Mapping, dynamics: keras.layers.Layer, **options) -> NeuralODE:
    """Residual blocks that share their weights: z <- z + F(z), Euler's method with steps of one."""
    steps = config["num_steps"]
    euler = solvers.get("euler", num_steps=steps, gradient=config["gradient"])
    return NeuralODE(dynamics, euler, final_time=float(steps), **options)


LAYERS = {
    "homoode": _homoode,
    "neural_ode": _neural_ode,
    "augmented_neural_ode": _augmented,
    "deq": _deq,
    "resnet": _resnet,
}
