# SPDX-License-Identifier: Apache-2.0
"""Keras's batch normalisation, with the convolution before it and the ReLU after it."""

import keras
import tensorflow as tf
from keras.src.backend.common.variables import AutocastScope

from homoode_tf.layers.convolution import convolve
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

    def after(self, convolution: keras.layers.Conv2D, x: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns relu(norm(convolution(x))), the convolution's activation left out.

        Args:
            convolution: Channels last, built.
            x: Float tensor of shape (batch, height, width, channels).
            training: Whether the moments are the batch's, which the running ones then follow, as in
                Keras not where the layer is frozen.
        """
        if not (training and self.trainable):
            return self._with_running_moments(convolution, x)
        inputs, bias = convolve(convolution, x), convolution.bias
        if self.synchronized:
            inputs = tf.nn.bias_add(inputs, tf.cast(bias, inputs.dtype))
            return keras.ops.relu(self.call(inputs, training=True))
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

    def _with_running_moments(self, convolution, x):
        """The norm is one scale and one shift a channel: they are the kernel's and the bias's."""
        with AutocastScope(None):  # rounded once, after all
            names = (self.gamma, self.beta, self.moving_mean, self.moving_variance)
            gamma, beta, mean, variance = map(tf.convert_to_tensor, names)
            kernel, bias = map(tf.convert_to_tensor, (convolution.kernel, convolution.bias))
        scale = gamma * tf.math.rsqrt(variance + self.epsilon)
        inputs = convolve(convolution, x, kernel * scale)
        shift = tf.cast((bias - mean) * scale + beta, inputs.dtype)
        # Not tf.nn.relu, which a graph fuses with the convolution: that ReLU makes NaN a zero. The
        # order gives the derivative at zero that a ReLU has.
        return tf.maximum(tf.zeros([], inputs.dtype), tf.nn.bias_add(inputs, shift))
