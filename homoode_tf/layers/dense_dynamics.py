# SPDX-License-Identifier: Apache-2.0
"""A vector field of two dense layers, for vectors and for sequences of them."""

import keras

from homoode_tf.checks import check_integer
from homoode_tf.errors import InvalidValueError


@keras.saving.register_keras_serializable(package="homoode_tf")
class DenseDynamics(keras.layers.Layer):
    """Autonomous dynamics of two dense layers, into which the condition x is injected.

    ::

        F(z; x) = dense(activation(dense(z) + U x))

    Args:
        units: Size of z's last axis.
        hidden_units: Size in between; None takes `units`.
        activation: In between; any Keras identifier. A smooth one suits a solver best.
        kernel_initializer: Initializer of all kernels; any Keras identifier.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Call arguments:
        z: State, float tensor of shape (batch, ..., units).
        x: Condition, of shape (batch, ..., channels) with any number of channels; None (in a
            Neural ODE) injects nothing.

    Returns:
        dz/dt, of z's shape, in the layer's compute dtype.

    Raises:
        ValueError: If z has another size.

    Example:
        >>> DenseDynamics(3, hidden_units=16)(keras.ops.ones([2, 5, 3])).shape
        TensorShape([2, 5, 3])
    """

    def __init__(
        self,
        units: int,
        hidden_units: int | None = None,
        activation="tanh",
        kernel_initializer="glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        check_integer("units", units, at_least=1)
        check_integer("hidden_units", hidden_units, at_least=1, optional=True)
        self.units, self.hidden_units = int(units), hidden_units
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

        def dense(units, name, **kwargs):
            initializer = self.kernel_initializer.clone()
            return keras.layers.Dense(
                units, kernel_initializer=initializer, dtype=self.dtype_policy, name=name, **kwargs
            )

        self.inner = dense(hidden_units or self.units, "inner")
        self.injection = dense(hidden_units or self.units, "injection", use_bias=False)
        self.outer = dense(self.units, "outer")

    def build(self, z_shape, x_shape=None):
        if z_shape[-1] != self.units:
            raise InvalidValueError(
                f"DenseDynamics(units={self.units}) expects z of shape (batch, ..., {self.units}), "
                f"got {tuple(z_shape)}: set units={z_shape[-1]}."
            )
        self.inner.build(z_shape)
        self.outer.build((*z_shape[:-1], self.inner.units))
        if x_shape is not None:
            self.injection.build(x_shape)

    def call(self, z, x=None):
        y = self.inner(z)
        return self.outer(self.activation(y if x is None else y + self.injection(x)))

    def compute_output_shape(self, z_shape, x_shape=None):
        return z_shape

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
