# SPDX-License-Identifier: Apache-2.0
"""The convolutional vector field that depends on time."""

import keras
import tensorflow as tf

from homoode_tf.layers.conv_dynamics import ConvDynamics


@keras.saving.register_keras_serializable(package="homoode_tf")
class TimedConvDynamics(ConvDynamics):
    """`ConvDynamics` whose convolutions see the time t as one more channel.

    ::

        F(t, z; x) = GN(dropout(conv3x3([activation(GN(conv3x3([z, t]))) + x, t])))

    2 * 9 * `filters` weights more than without time. Not for a `DEQ`, which has no time.

    Args:
        filters: As of `ConvDynamics`, and so are all others.
        **kwargs: Arguments of `ConvDynamics`.

    Call arguments:
        t: Time, a scalar, or one for each sample, of shape (batch, 1, 1, 1).
        z: State, float tensor of shape (batch, height, width, filters).
        x: Condition, of the same shape; None injects nothing.
        training: Whether dropout is on.

    Returns:
        dz/dt, of z's shape, in the layer's compute dtype.

    Raises:
        ValueError: If z or x has another rank or another number of channels.

    Example:
        >>> z = tf.random.normal([2, 16, 16, 64])
        >>> TimedConvDynamics(64)(tf.constant(0.5), z).shape
        TensorShape([2, 16, 16, 64])

    Reference:
        Chen et al., "Neural Ordinary Differential Equations", NeurIPS 2018, and the code they
        published, https://arxiv.org/abs/1806.07366
    """

    def build(self, t_shape, z_shape, x_shape=None):
        super().build(z_shape, x_shape)

    def call(self, t, z, x=None, training=False):
        t = tf.reshape(tf.cast(t, self.compute_dtype), [-1] + [1] * (self.rank + 1))

        def with_time(y):
            channel = tf.broadcast_to(t, tf.concat([tf.shape(y)[:-1], [1]], 0))
            return tf.concat([y, channel], axis=-1)

        return self._evaluate(z, x, training, convolved=with_time)

    def _convolved_shape(self, z_shape):
        return (*z_shape[:-1], self.filters + 1)

    def compute_output_shape(self, t_shape, z_shape, x_shape=None):
        return z_shape
