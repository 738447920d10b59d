# SPDX-License-Identifier: Apache-2.0
"""The Augmented Neural ODE layer: a Neural ODE with room beside its input."""

import keras
import tensorflow as tf

from homoode_tf.checks import check_integer
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import structure
from homoode_tf.layers.neural_ode import NeuralODE


@keras.saving.register_keras_serializable(package="homoode_tf")
class AugmentedNeuralODE(NeuralODE):
    """Neural ODE that starts from its input with channels of zeros appended.

    ::

        z'(t) = F(z(t)),   z(0) = [x, 0],   output z(T)

    In the added dimensions trajectories can pass each other, so that the output may be any function
    of the input. Read as homotopy continuation, x is the condition and the added part the
    equilibrium point that is being sought.

    Args:
        dynamics: As of `NeuralODE`; z has the inputs' channels and the added ones.
        extra_channels: Number of channels of zeros; at least 0.
        **kwargs: Arguments of `NeuralODE`.

    Call arguments:
        inputs: x, float tensor of shape (batch, ..., channels).
        training: Whether the dynamics drops out.

    Returns:
        z(T), of shape (batch, ..., channels + extra_channels), in the layer's compute dtype.

    Raises:
        ValueError: If an argument is not allowed, or the dynamics returns another shape than z's.

    Example:
        >>> from homoode_tf.layers import AugmentedNeuralODE, ConvDynamics
        >>> layer = AugmentedNeuralODE(ConvDynamics(8, groups=2), extra_channels=3)
        >>> layer(tf.random.normal([2, 4, 4, 5])).shape
        TensorShape([2, 4, 4, 8])

    Reference:
        Dupont, Doucet and Teh, "Augmented Neural ODEs", NeurIPS 2019,
        https://arxiv.org/abs/1904.01681
    """

    def __init__(self, dynamics: keras.layers.Layer, extra_channels: int, **kwargs):
        super().__init__(dynamics, **kwargs)
        check_integer("extra_channels", extra_channels, at_least=0)
        self.extra_channels = int(extra_channels)

    def initial_state(self, inputs):
        zeros = tf.zeros_like(inputs[..., :1])
        return tf.concat([inputs, tf.repeat(zeros, self.extra_channels, axis=-1)], axis=-1)

    def state_shape(self, input_shape):
        if structure.is_nest_of_shapes(input_shape):
            raise InvalidValueError(
                "AugmentedNeuralODE takes one tensor, got a nest of them: use NeuralODE, and give "
                "it what is to be beside the inputs as one tensor more."
            )
        structure.check_channels("extra_channels", input_shape)
        return (*input_shape[:-1], input_shape[-1] + self.extra_channels)

    def get_config(self):
        return {**super().get_config(), "extra_channels": self.extra_channels}
