# SPDX-License-Identifier: Apache-2.0
"""The Neural ODE layer: the input is where the state starts."""

import keras

from homoode_tf.layers.ode_layer import ODELayer


@keras.saving.register_keras_serializable(package="homoode_tf")
class NeuralODE(ODELayer):
    """Layer whose output is the end of an ODE that starts at its input.

    ::

        z'(t) = F(z(t)),   z(0) = x,   output z(T)

    The flow of an ODE is invertible and cannot tear or fold space: where the task needs that, use
    `AugmentedNeuralODE` or `HomoODE`.

    Args:
        dynamics: Keras layer called as `dynamics(z)`, or `dynamics(t, z)` where the first argument
            of its `call` is named `t` or `time`. Returns dz/dt, of z's shape.
        solver: As of `HomoODE`.
        **kwargs: `rtol`, `atol`, `final_time`, `initial_time`, `times`, `learn_final_time` and
            other settings of a solver given by name, and Keras layer arguments, as of `HomoODE`.

    Call arguments:
        inputs: x, float tensor of shape (batch, ..., channels).
        training: Whether the dynamics drops out.
        times: As of `HomoODE`.

    Returns:
        z(T), of the inputs' shape, or, with times, (batch, times, ...), in the layer's compute
        dtype.

    Attributes:
        forward_nfe: int64 scalar variable, evaluations of F in the last forward pass.
        backward_nfe: int64 scalar variable, evaluations of F in the last backward pass.

    Raises:
        ValueError: If an argument is not allowed, or the dynamics returns another shape than z's.
        SolverError: As of `HomoODE`.

    Example:
        >>> from homoode_tf.layers import ConvDynamics, NeuralODE
        >>> NeuralODE(ConvDynamics(8, groups=2))(tf.random.normal([2, 4, 4, 8])).shape
        TensorShape([2, 4, 4, 8])

    Reference:
        Chen et al., "Neural Ordinary Differential Equations", NeurIPS 2018,
        https://arxiv.org/abs/1806.07366
    """

    has_condition = False

    def build(self, input_shape):
        super().build(input_shape)
        self.build_dynamics(state_shape=self.state_shape(input_shape))
        self.fix_channels(input_shape)
