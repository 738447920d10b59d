# SPDX-License-Identifier: Apache-2.0
"""The HomoODE layer: a shared initial point, a condition, and an ODE between them."""

from typing import Any

import keras

from homoode_tf.layers.ode_layer import ODELayer
from homoode_tf.layers.shared_start import SharedStart


@keras.saving.register_keras_serializable(package="homoode_tf")
class HomoODE(SharedStart, ODELayer):
    """Implicit layer whose output is the end of an ODE that sees the input all the way.

    ::

        z'(t) = F(z(t); x),   z(0) = z0,   output z(T)

    The input x is the *condition*, injected at every time as in a deep equilibrium model; the
    state is integrated by an ODE solver as in a Neural ODE; z0 is one initial point shared by all
    inputs and drawn towards the solutions, so that the way from it is short.

    Gradients reach x, the weights of the dynamics, and z0 if the initial point is a layer that
    takes the task's gradient. The named initial points do not: "learned" has a loss of its own
    (`add_loss`), "running_mean" an update, "zeros" and "alternating" are constants. The exception
    is "input", z(0) = x: a Neural ODE that also sees its input all the way.

    Args:
        dynamics: Keras layer called as `dynamics(z, x)`, or `dynamics(t, z, x)` where the first
            argument of its `call` is named `t` or `time`. Returns dz/dt, of z's shape.
        solver: Name of a solver (`homoode_tf.solvers.names()`) or any `tfp.math.ode.Solver`, which
            then has its own settings.
        rtol: Relative tolerance of a solver given by name; by default 1e-3.
        atol: Absolute tolerance of a solver given by name; by default 1e-3.
        final_time: T; above `initial_time`.
        initial_point: "learned", "running_mean", "zeros", "alternating", "input", or a Keras layer
            that maps x to z(0) of the same shape.
        **kwargs: Other settings of a solver given by name, all those of
            `homoode_tf.solvers.RungeKutta`, among them:

            * `gradient`: how the backward pass is made. "checkpoint", the default, is the exact
              derivative of the steps taken and stores one state a step; "backprop" is the same
              derivative with everything stored; "adjoint" integrates the adjoint ODE, as exactly as
              its tolerance (ten times rtol and atol), with constant memory. Measured with the
              CIFAR-10 model at batch 64 and 1e-3 (`benchmarks.train_step`), a training step took
              0.44, 0.35 and 0.98 s and 443, 978 and 452 MiB: hence the default, which is exact and
              grows little with the number of steps, at a quarter more time than the fastest.
            * `step_control`: "batch", the default, takes one step size for all samples, the faster
              way to train; "sample" gives each its own, so that its result does not depend on its
              batch mates.
            * `max_num_steps`: largest number of steps tried. XLA (jit_compile=True) compiles
              "checkpoint" and "backprop" if it is at most 1024, and reserves the memory of so many
              steps.

            And `initial_time`, `times`, `learn_final_time` of the solve, as of `ODELayer`; Keras
            layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: The condition x, float tensor of shape (batch, ..., channels). Batch size and,
            where the dynamics allows it, the sizes between may vary from call to call.
        training: Whether the dynamics drops out and the initial point learns.
        times: Where the solution is asked for in this call, as of `ODELayer.solve`; the output is
            then of shape (batch, times, ...).

    Returns:
        z(T), of the inputs' shape, or, with times, (batch, times, ...), in the layer's compute
        dtype.

    Attributes:
        forward_nfe: int64 scalar variable, evaluations of F in the last forward pass.
        backward_nfe: int64 scalar variable, evaluations of F in the last backward pass.
        initial_point: The layer that makes z(0).

    Raises:
        ValueError: If an argument is not allowed, or the dynamics returns another shape than z's.
        SolverError: When called eagerly, if the state becomes non-finite or the solver cannot
            reach T; the message names the time reached. A graph raises
            `tf.errors.InvalidArgumentError` with the same message.

    Example:
        >>> from homoode_tf.layers import ConvDynamics, HomoODE
        >>> layer = HomoODE(ConvDynamics(8, groups=2), rtol=1e-3, atol=1e-3)
        >>> z = layer(tf.random.normal([2, 4, 4, 8]))
        >>> z.shape, int(layer.forward_nfe) > 0
        (TensorShape([2, 4, 4, 8]), True)

    Reference:
        Ding et al., "Two Sides of the Same Coin: Bridging Deep Equilibrium Models and Neural ODEs
        via Homotopy Continuation", NeurIPS 2023, https://arxiv.org/abs/2310.09583
    """

    def __init__(
        self,
        dynamics: keras.layers.Layer,
        solver: Any = "dopri5",
        rtol: float | None = None,
        atol: float | None = None,
        final_time: float = 1.0,
        *,
        initial_point: Any = "learned",
        **kwargs,
    ):
        super().__init__(
            dynamics, solver, rtol, atol, final_time, initial_point=initial_point, **kwargs
        )
