# SPDX-License-Identifier: Apache-2.0
"""From the state at the end to logits."""

import keras

from homoode_tf.checks import check_integer, check_number
from homoode_tf.layers import BatchNormalization, GroupNormalization
from homoode_tf.models.initializers import BATCH_NORM_EPSILON, kernel_initializer


@keras.saving.register_keras_serializable(package="homoode_tf")
class Head(keras.layers.Layer):
    """Turns z(T) into logits: GN, ReLU, conv1x1, BN, ReLU, global average pool, dense.

    Args:
        channels: Channels of the 1x1 convolution.
        num_classes: Number of logits.
        groups: Groups of the group normalisation.
        batch_norm_momentum: Share of the past in the running moments, in Keras's sense.
        synchronized: Whether batch norm takes its moments over the batch of all replicas.
        **kwargs: Keras layer arguments.

    Call arguments:
        inputs: z(T), float tensor of shape (batch, height, width, state channels).
        training: Whether batch norm uses the batch's moments.

    Returns:
        Logits, float32 tensor of shape (batch, num_classes).

    Example:
        >>> Head(8, num_classes=10, groups=2)(tf.zeros([2, 4, 4, 8])).shape
        TensorShape([2, 10])
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        groups: int = 32,
        batch_norm_momentum: float = 0.9,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        counts = {"channels": channels, "num_classes": num_classes, "groups": groups}
        for name, value in counts.items():
            check_integer(name, value, at_least=1)
        check_number("batch_norm_momentum", batch_norm_momentum, at_least=0, at_most=1)
        self.channels = int(channels)
        self.num_classes = int(num_classes)
        self.groups = int(groups)
        self.batch_norm_momentum = float(batch_norm_momentum)
        self.synchronized = bool(synchronized)
        policy = self.dtype_policy
        self.state_norm = GroupNormalization(self.groups, dtype=policy, name="state_norm")
        self.conv = keras.layers.Conv2D(
            self.channels,
            1,
            data_format="channels_last",
            kernel_initializer=kernel_initializer(),
            dtype=policy,
            name="conv",
        )
        self.norm = BatchNormalization(
            momentum=self.batch_norm_momentum,
            epsilon=BATCH_NORM_EPSILON,
            synchronized=self.synchronized,
            dtype=policy,
            name="norm",
        )
        self.pool = keras.layers.GlobalAveragePooling2D("channels_last", dtype=policy)
        # Logits stay in float32 under a half-precision policy, for the softmax's sake.
        self.logits = keras.layers.Dense(
            self.num_classes,
            kernel_initializer=kernel_initializer(),
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
        y = self.state_norm.normalize(inputs, relu=True)
        return self.logits(self.pool(self.norm.after(self.conv, y, training)))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.num_classes)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "num_classes": self.num_classes,
            "groups": self.groups,
            "batch_norm_momentum": self.batch_norm_momentum,
            "synchronized": self.synchronized,
        }
