# SPDX-License-Identifier: Apache-2.0
"""Small dynamics as Keras layers, whose solutions are known or cheap to differentiate."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="homoode_tf_tests")
class LinearDynamics(keras.layers.Layer):
    """z' = rate * z + x with one trainable rate: z(T) = e^(rate T) (z0 + x / rate) - x / rate."""

    def __init__(self, rate=0.7, **kwargs):
        super().__init__(**kwargs)
        self.initial_rate = rate

    def build(self, z_shape, x_shape=None):
        self.rate = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(self.initial_rate), name="rate"
        )

    def call(self, z, x):
        return self.rate * z + x

    def get_config(self):
        return {**super().get_config(), "rate": self.initial_rate}


@keras.saving.register_keras_serializable(package="homoode_tf_tests")
class TimedDynamics(keras.layers.Layer):
    """z' = t * x, so z(T) = z0 + T^2 x / 2."""

    def call(self, t, z, x):
        return t * x + 0.0 * z


@keras.saving.register_keras_serializable(package="homoode_tf_tests")
class DenseDynamics(keras.layers.Layer):
    """F(z; x) = tanh(W z + x) - z, smooth and nonlinear; x may be left out."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = keras.layers.Dense(units, dtype=self.dtype_policy)

    def build(self, z_shape, x_shape=None):
        self.dense.build(z_shape)

    def call(self, z, x=None):
        return tf.tanh(self.dense(z) + (0.0 if x is None else x)) - z

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="homoode_tf_tests")
class DecayingDynamics(keras.layers.Layer):
    """z' = -(1 + |x|) z + sin z: the larger the condition, the stiffer the sample."""

    def call(self, z, x):
        return -(1.0 + tf.abs(x)) * z + tf.sin(z)


@keras.saving.register_keras_serializable(package="homoode_tf_tests")
class ScaledCondition(keras.layers.Layer):
    """An initial point of the user's own that the task trains: z0 = scale * x."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x):
        return self.scale * x
