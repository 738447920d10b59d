# SPDX-License-Identifier: Apache-2.0
"""Keras's batch normalisation, with the bias before it and the ReLU after it."""

import keras
import tensorflow as tf

from homoode_tf.layers.normalization import normalize


@keras.saving.register_keras_serializable(package="homoode_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over channels, and a way to train it in few passes.

    Args:
        **kwargs: Keras's arguments, but for `renorm`.

    Example:
        >>> norm = BatchNormalization()
        >>> norm(tf.random.normal([2, 4, 4, 8])).shape
        TensorShape([2, 4, 4, 8])
    """

    def normalize(self, inputs: tf.Tensor, bias: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns relu(norm(inputs + bias)).

        Args:
            inputs: Float tensor of shape (batch, ..., channels).
            bias: Of shape (channels,).
            training: Whether the moments are the batch's, which the running ones then follow, as in
                Keras not where the layer is frozen.
        """
        inputs = tf.convert_to_tensor(inputs)
        if not (training and self.trainable) or self.synchronized:
            inputs = tf.nn.bias_add(inputs, tf.cast(bias, inputs.dtype))
            return keras.ops.relu(self.call(inputs, training=training))
        dtype = tf.float64 if inputs.dtype == tf.float64 else tf.float32
        parameters = [tf.cast(p, dtype) for p in (self.gamma, self.beta, bias)]

        def moments(mean, variance):
            """Of the whole batch, from those of its samples."""
            whole = tf.reduce_mean(mean, 0)
            return whole, tf.reduce_mean(variance + tf.square(mean - whole), 0)

        def coefficients(mean, variance, gamma, beta, bias):
            mean, variance = moments(mean, variance)
            scale = gamma * tf.math.rsqrt(variance + self.epsilon)
            # The bias is in the mean, too: it cancels.
            return scale[tf.newaxis], (beta - mean * scale + 0.0 * bias)[tf.newaxis]

        output, *found = normalize(inputs, coefficients, parameters, relu=True)
        mean, variance = moments(*found)
        mean += parameters[-1]
        for running, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            old = tf.convert_to_tensor(running)
            running.assign(old + (1.0 - self.momentum) * (tf.stop_gradient(new) - old))
        return tf.cast(output, self.compute_dtype)
