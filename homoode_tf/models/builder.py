# SPDX-License-Identifier: Apache-2.0
"""From a config to a classifier."""

from collections.abc import Mapping, Sequence

import keras

from homoode_tf import solvers
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import DEQ, AugmentedNeuralODE, ConvDynamics, HomoODE, NeuralODE
from homoode_tf.models import fields
from homoode_tf.models.classifier import ImageClassifier
from homoode_tf.models.head import Head
from homoode_tf.models.initializers import kernel_initializer
from homoode_tf.models.stem import Stem
from homoode_tf.solvers.ode.solution import MAX_NUM_STEPS
from homoode_tf.solvers.ode.tableaus import BY_NAME

# Fields that may be absent, as in configs of runs made before there were such fields.
DEFAULTS = {"synchronized_batch_norm": False, "max_num_steps": MAX_NUM_STEPS}


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
            out), `num_steps` (of a resnet, or a solver without step control), `max_num_steps` (of
            one with it), `max_num_iterations`, `jacobian_weight`, `synchronized_batch_norm`. Those
            in `DEFAULTS` may be absent.
        image_shape: (height, width, channels) of the images.
        num_classes: Number of classes.
        mean: Mean of each image channel, in units of pixels scaled to 0..1.
        std: Standard deviation of each image channel, in the same units.
        precision: Keras dtype policy of all layers. Under "mixed_bfloat16" the convolutions compute
            in bfloat16; weights, states, moments and logits stay float32.

    Returns:
        A built `ImageClassifier`.

    Raises:
        MissingFieldError: If a field without a default is missing.
        ValueError: If a field is unknown, or has a value that is not allowed.

    Example:
        >>> from configs import cifar10
        >>> model = build(cifar10.get_config().model, (32, 32, 3), 10, (0.5,) * 3, (0.25,) * 3)
        >>> model.task_parameters, model.initial_point_parameters
        (132938, 64)
    """
    config = {**DEFAULTS, **dict(config.items())}
    fields.check(config, LAYERS)
    batch_norm = (config["batch_norm_momentum"], config["synchronized_batch_norm"])
    extra_channels = config["extra_channels"] if config["layer"] == "augmented_neural_ode" else 0
    if extra_channels >= config["channels"]:
        raise InvalidValueError(
            f"config.model.extra_channels must be below channels={config['channels']}, "
            f"got {extra_channels}."
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


_ODE = ("solver", "rtol", "atol", "final_time", "gradient", "step_control", "max_num_steps")


def _ode(config: Mapping) -> dict:
    """What says how to solve: to tolerances, or by equal steps where a solver knows no errors."""
    tableau = BY_NAME.get(config["solver"])
    if tableau is None or tableau.adaptive:
        return _pick(config, *_ODE)
    return {"solver": _equal_steps(tableau.name, config), "final_time": config["final_time"]}


def _equal_steps(name: str, config: Mapping) -> solvers.RungeKutta:
    return solvers.get(name, num_steps=config["num_steps"], gradient=config["gradient"])


def _homoode(config: Mapping, dynamics: keras.layers.Layer, **options) -> HomoODE:
    return HomoODE(dynamics, **_ode(config), **_pick(config, "initial_point"), **options)


def _neural_ode(config: Mapping, dynamics: keras.layers.Layer, **options) -> NeuralODE:
    return NeuralODE(dynamics, **_ode(config), **options)


def _augmented(config: Mapping, dynamics: keras.layers.Layer, **options) -> AugmentedNeuralODE:
    extra_channels = config["extra_channels"]
    return AugmentedNeuralODE(dynamics, extra_channels, **_ode(config), **options)


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
    euler = _equal_steps("euler", config)
    return NeuralODE(dynamics, euler, final_time=float(config["num_steps"]), **options)


LAYERS = {
    "homoode": _homoode,
    "neural_ode": _neural_ode,
    "augmented_neural_ode": _augmented,
    "deq": _deq,
    "resnet": _resnet,
}
