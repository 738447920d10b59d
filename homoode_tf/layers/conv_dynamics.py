# SPDX-License-Identifier: Apache-2.0
"""The convolutional vector field of the HomoODE paper's image classifiers."""

import keras
import tensorflow as tf

from homoode_tf.checks import check_integer, check_number
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers.convolution import convolve
from homoode_tf.layers.group_norm import GroupNormalization
from homoode_tf.layers.variational_dropout import VariationalDropout


@keras.saving.register_keras_serializable(package="homoode_tf")
class ConvDynamics(keras.layers.Layer):
    """Autonomous convolutional dynamics F(z; x), into which the condition x is injected.

    ::

        F(z; x) = GN(dropout(conv3x3(activation(GN(conv3x3(z))) + x)))

    Args:
        filters: Channels of z and x.
        groups: Groups of both group normalisations; must divide `filters`. None takes the largest
            number up to 32 that does and leaves two channels to each.
        dropout_rate: Rate of the variational dropout (one mask per sample and channel, held
            through a solve), in [0, 1).
        activation: Between the convolutions; any Keras identifier. With "relu", the paper's, F has
            kinks: a solution at tolerance 1e-6 then has a gradient that is right to 1e-2 only, as
            measured; a smooth activation such as "gelu" gives 1e-6.
        kernel_initializer: Initializer of both convolution kernels; any Keras identifier.
        seed: Optional integer seed of the dropout masks.
        rank: Number of axes that the convolutions go over: 1 (sequences), 2 (images) or 3
            (volumes).
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Call arguments:
        z: State, float tensor of shape (batch, height, width, filters), with `rank` axes in
            between, of any size.
        x: Condition, of the same shape; None (in a Neural ODE) injects nothing.
        training: Whether dropout is on.

    Returns:
        dz/dt, of z's shape, in the layer's compute dtype.

    Raises:
        ValueError: If z or x has another rank or another number of channels.

    Example:
        >>> x = tf.random.normal([2, 16, 16, 64])
        >>> ConvDynamics(64)(tf.zeros_like(x), x).shape
        TensorShape([2, 16, 16, 64])

    Reference:
        Ding et al., "Two Sides of the Same Coin: Bridging Deep Equilibrium Models and Neural ODEs
        via Homotopy Continuation", NeurIPS 2023, https://arxiv.org/abs/2310.09583
    """

    def __init__(
        self,
        filters: int,
        groups: int | None = None,
        dropout_rate: float = 0.1,
        activation="relu",
        kernel_initializer="glorot_uniform",
        seed: int | None = None,
        rank: int = 2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        check_integer("filters", filters, at_least=1)
        check_integer("rank", rank, at_least=1, at_most=3)
        if groups is None:
            # Of one channel a group's mean would say nothing of the input.
            most = min(32, max(1, filters // 2))
            groups = max(n for n in range(1, most + 1) if filters % n == 0)
        check_integer("groups", groups, at_least=1)
        check_number("dropout_rate", dropout_rate, at_least=0, below=1)
        if filters % groups:
            raise InvalidValueError(f"groups must divide filters={filters}, got groups={groups!r}.")
        self.filters = int(filters)
        self.groups = int(groups)
        self.dropout_rate = float(dropout_rate)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.seed, self.rank = seed, int(rank)
        conv = [keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D][rank - 1]

        def convolution(name):
            # clone: one initializer object with a fixed seed would repeat its first draw.
            return conv(
                self.filters,
                3,
                padding="same",
                data_format="channels_last",
                kernel_initializer=self.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name=name,
            )

        self.conv1 = convolution("conv1")
        self.norm1 = GroupNormalization(self.groups, dtype=self.dtype_policy, name="norm1")
        self.conv2 = convolution("conv2")
        self.dropout = VariationalDropout(
            self.dropout_rate, seed, dtype=self.dtype_policy, name="dropout"
        )
        self.norm2 = GroupNormalization(self.groups, dtype=self.dtype_policy, name="norm2")

    def build(self, z_shape, x_shape=None):
        for name, shape in (("z", z_shape), ("x", x_shape)):
            if shape is None:
                continue
            if len(shape) != self.rank + 2 or shape[-1] != self.filters:
                axes = ("length", "height, width", "depth, height, width")[self.rank - 1]
                raise InvalidValueError(
                    f"ConvDynamics(filters={self.filters}) expects {name} of shape (batch, {axes}, "
                    f"{self.filters}), got {tuple(shape)}. Give the layer before it "
                    f"{self.filters} channels, set filters={shape[-1]}, or another rank than "
                    f"{self.rank}."
                )
        for convolution in (self.conv1, self.conv2):
            convolution.build(self._convolved_shape(z_shape))
        for part in (self.norm1, self.dropout, self.norm2):
            part.build(z_shape)

    def call(self, z, x=None, training=False):
        # The identity is without a mask, of which a convolution would warn.
        return self._evaluate(z, x, training, convolved=tf.identity)

    def _convolved_shape(self, z_shape):
        """Shape of what the convolutions see."""
        return z_shape

    def _evaluate(self, z, x, training, convolved):
        # Biases, mask, activation and condition cost no pass of their own within the norms.
        y, relu = convolve(self.conv1, convolved(z)), self.activation is keras.activations.relu
        if relu:
            y = self.norm1.normalize(y, bias=self.conv1.bias, addend=x, relu=True)
        else:
            y = self.activation(self.norm1.normalize(y, bias=self.conv1.bias))
            y = y if x is None else y + x
        y = convolve(self.conv2, convolved(y))
        return self.norm2.normalize(y, bias=self.conv2.bias, mask=self.dropout.mask(y, training))

    def compute_output_shape(self, z_shape, x_shape=None):
        return z_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "groups": self.groups,
            "dropout_rate": self.dropout_rate,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "seed": self.seed,
            "rank": self.rank,
        }
