# SPDX-License-Identifier: Apache-2.0
"""Image classifiers around an implicit layer: stem, HomoODE, head."""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from homoode_tf.layers import ConvDynamics, GroupNormalization, HomoODE

_BATCH_NORM_EPSILON = 1e-5
# U(-1/sqrt(fan_in), 1/sqrt(fan_in)): what the reference model's convolutions start from.
_KERNEL_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
}


def _initializer():
    """A fresh kernel initializer; a shared one would give equal shapes equal values."""
    return keras.initializers.get(_KERNEL_INITIALIZER)


@keras.saving.register_keras_serializable(package="homoode_tf")
class Stem(keras.layers.Layer):
    """Two 3x3 convolutions with batch norm and ReLU that turn an image into the condition x.

    Args:
        channels: Channels of both convolutions.
        strides: Stride of each convolution; (1, 2) halves the image once.
        batch_norm_momentum: Share of the past in the running moments, in Keras's sense.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: Normalised images, float tensor of shape (batch, height, width, image channels).
        training: Whether batch norm uses the batch's moments.

    Returns:
        x, of shape (batch, ceil(height / s), ceil(width / s), channels), s the strides' product.
    """

    def __init__(
        self,
        channels: int,
        strides: Sequence[int] = (1, 2),
        batch_norm_momentum: float = 0.9,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if len(strides) != 2 or any(stride not in (1, 2) for stride in strides):
            raise ValueError(f"strides must be two numbers, each 1 or 2, got {tuple(strides)!r}.")
        self.channels = int(channels)
        self.strides = tuple(strides)
        self.batch_norm_momentum = float(batch_norm_momentum)
        # Padding of 1 on every side; padding="same" would pad an even image on one side only.
        self.padding = keras.layers.ZeroPadding2D(1, dtype=self.dtype_policy)
        self.convolutions, self.norms = [], []
        for number, stride in enumerate(self.strides, start=1):
            self.convolutions.append(
                keras.layers.Conv2D(
                    self.channels,
                    3,
                    strides=stride,
                    kernel_initializer=_initializer(),
                    dtype=self.dtype_policy,
                    name=f"conv{number}",
                )
            )
            self.norms.append(
                keras.layers.BatchNormalization(
                    momentum=self.batch_norm_momentum,
                    epsilon=_BATCH_NORM_EPSILON,
                    dtype=self.dtype_policy,
                    name=f"norm{number}",
                )
            )

    def build(self, input_shape):
        shape = tuple(input_shape)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            shape = self.padding.compute_output_shape(shape)
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            norm.build(shape)

    def call(self, inputs, training=False):
        x = inputs
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = keras.ops.relu(norm(convolution(self.padding(x)), training=training))
        return x

    def compute_output_shape(self, input_shape):
        batch, *sizes, _ = input_shape
        for stride in self.strides:
            sizes = [size and -(-size // stride) for size in sizes]
        return (batch, *sizes, self.channels)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "strides": self.strides,
            "batch_norm_momentum": self.batch_norm_momentum,
        }


@keras.saving.register_keras_serializable(package="homoode_tf")
class Head(keras.layers.Layer):
    """Turns z(T) into logits: GN, ReLU, conv1x1, BN, ReLU, global average pool, dense.

    Args:
        channels: Channels of the 1x1 convolution.
        num_classes: Number of logits.
        groups: Groups of the group normalisation.
        batch_norm_momentum: Share of the past in the running moments, in Keras's sense.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: z(T), float tensor of shape (batch, height, width, state channels).
        training: Whether batch norm uses the batch's moments.

    Returns:
        Logits, float32 tensor of shape (batch, num_classes).
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        groups: int = 32,
        batch_norm_momentum: float = 0.9,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.channels = int(channels)
        self.num_classes = int(num_classes)
        self.groups = int(groups)
        self.batch_norm_momentum = float(batch_norm_momentum)
        policy = self.dtype_policy
        self.state_norm = GroupNormalization(self.groups, dtype=policy, name="state_norm")
        self.conv = keras.layers.Conv2D(
            self.channels, 1, kernel_initializer=_initializer(), dtype=policy, name="conv"
        )
        self.norm = keras.layers.BatchNormalization(
            momentum=self.batch_norm_momentum,
            epsilon=_BATCH_NORM_EPSILON,
            dtype=policy,
            name="norm",
        )
        self.pool = keras.layers.GlobalAveragePooling2D(dtype=policy)
        # Logits stay in float32 under a half-precision policy, for the softmax's sake.
        self.logits = keras.layers.Dense(
            self.num_classes,
            kernel_initializer=_initializer(),
            dtype=self.variable_dtype,
            name="logits",
        )

    def build(self, input_shape):
        self.state_norm.build(input_shape)
        self.conv.build(input_shape)
        shape = self.conv.compute_output_shape(input_shape)
        self.norm.build(shape)
        self.logits.build(self.pool.compute_output_shape(shape))

    def call(self, inputs, training=False):
        y = self.conv(keras.ops.relu(self.state_norm(inputs)))
        return self.logits(self.pool(keras.ops.relu(self.norm(y, training=training))))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "num_classes": self.num_classes,
            "groups": self.groups,
            "batch_norm_momentum": self.batch_norm_momentum,
        }


@keras.saving.register_keras_serializable(package="homoode_tf")
class ImageClassifier(keras.Model):
    """Image -> normalised image -> stem -> x; shared z0 and x -> z(T) -> head -> logits.

    Args:
        stem: Layer from images to the condition x.
        implicit: Layer from x to z(T), such as `HomoODE`.
        head: Layer from z(T) to logits.
        mean: Mean of each image channel, in units of pixels scaled to 0..1.
        std: Standard deviation of each image channel, in the same units.
        **kwargs: Keras model arguments.

    Call arguments:
        images: uint8 or float tensor of shape (batch, height, width, image channels), in 0..255.
        training: Whether to run in training mode.

    Returns:
        Logits, float32 tensor of shape (batch, number of classes).
    """

    def __init__(
        self,
        stem: keras.layers.Layer,
        implicit: keras.layers.Layer,
        head: keras.layers.Layer,
        mean: Sequence[float],
        std: Sequence[float],
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.stem = stem
        self.implicit = implicit
        self.head = head
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)

    def build(self, input_shape):
        shape = tuple(input_shape)  # a list where it comes from a `.keras` file
        for part in (self.stem, self.implicit, self.head):
            if not part.built:  # the parts of a loaded model come built
                part.build(shape)
            shape = part.compute_output_shape(shape)

    def call(self, images, training=False):
        condition = self.stem(self.normalise(images), training=training)
        final_state = self.implicit(condition, training=training)
        return self.head(final_state, training=training)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.head.num_classes)

    def normalise(self, images: tf.Tensor) -> tf.Tensor:
        """Returns images of 0..255 as float32 with zero mean and unit deviation a channel."""
        return (tf.cast(images, tf.float32) / 255.0 - self.mean) / self.std

    @property
    def initial_point_variables(self) -> list[keras.Variable]:
        """Trainable variables of the initial point; empty where it has none."""
        return self.implicit.initial_point.trainable_variables

    @property
    def task_variables(self) -> list[keras.Variable]:
        """All other trainable variables: those that the task's loss trains."""
        own = {id(variable) for variable in self.initial_point_variables}
        return [variable for variable in self.trainable_variables if id(variable) not in own]

    @property
    def initial_point_parameters(self) -> int:
        """Number of trainable parameters of the initial point."""
        return _count(self.initial_point_variables)

    @property
    def task_parameters(self) -> int:
        """Number of trainable parameters beside the initial point's."""
        return _count(self.task_variables)

    def get_config(self):
        parts = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("stem", "implicit", "head")
        }
        return {**super().get_config(), **parts, "mean": self.mean, "std": self.std}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("stem", "implicit", "head"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _count(variables: list[keras.Variable]) -> int:
    return sum(int(tf.reduce_prod(variable.shape)) for variable in variables)


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
        config: `config.model` of a file in `configs/`: `channels`, `head_channels`,
            `stem_strides`, `groups`, `dropout_rate`, `batch_norm_momentum`, `solver`, `rtol`,
            `atol`, `final_time`, `gradient`, `step_control`, `initial_point`.
        image_shape: (height, width, channels) of the images.
        num_classes: Number of classes.
        mean: Mean of each image channel, in units of pixels scaled to 0..1.
        std: Standard deviation of each image channel, in the same units.
        precision: Keras dtype policy of all layers. Under "mixed_bfloat16" the convolutions compute
            in bfloat16; weights, states, moments and logits stay float32.

    Returns:
        A built `ImageClassifier`.

    Example:
        >>> from configs import cifar10
        >>> model = build(cifar10.get_config().model, (32, 32, 3), 10, (0.5,) * 3, (0.25,) * 3)
        >>> model.task_parameters, model.initial_point_parameters
        (132938, 64)
    """
    momentum = config["batch_norm_momentum"]
    stem = Stem(config["channels"], config["stem_strides"], momentum, dtype=precision, name="stem")
    dynamics = ConvDynamics(
        config["channels"],
        groups=config["groups"],
        dropout_rate=config["dropout_rate"],
        kernel_initializer=_initializer(),
        dtype=precision,
        name="dynamics",
    )
    implicit = HomoODE(
        dynamics,
        solver=config["solver"],
        rtol=config["rtol"],
        atol=config["atol"],
        final_time=config["final_time"],
        gradient=config["gradient"],
        step_control=config["step_control"],
        initial_point=config["initial_point"],
        dtype=precision,
        name="implicit",
    )
    head = Head(
        config["head_channels"],
        num_classes,
        config["groups"],
        momentum,
        dtype=precision,
        name="head",
    )
    model = ImageClassifier(stem, implicit, head, mean, std)
    model.build((None, *image_shape))
    return model
