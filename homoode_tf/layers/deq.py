# SPDX-License-Identifier: Apache-2.0
"""The deep equilibrium layer: the output is a fixed point."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from homoode_tf import checks
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import structure
from homoode_tf.layers.shared_start import SharedStart
from homoode_tf.solvers import fixed_point

# What a solver that a layer is given by name has, unless the layer's arguments say otherwise.
_DEFAULTS = {"rtol": 1e-3, "atol": 1e-3}


class Equilibrium(NamedTuple):
    """The fixed point of a layer's dynamics.

    Attributes:
        final_state: z*, of shape (batch, ...), in the layer's `state_dtype`; a nest of such tensors
            where the state is one.
        residual: rms(g(z) - z) of each sample, shape (batch,).
        num_evaluations: int32 scalar, evaluations of g for the whole batch.
        status: int32 of shape (batch,), values of `fixed_point.FixedPointStatus`.
        added_loss: The weighted penalty on the Jacobian, a scalar; None where there is none.
    """

    final_state: Any
    residual: tf.Tensor
    num_evaluations: tf.Tensor
    status: tf.Tensor
    added_loss: tf.Tensor | None


@keras.saving.register_keras_serializable(package="homoode_tf")
class DEQ(SharedStart):
    """Implicit layer whose output is a fixed point of its dynamics, given the input.

    ::

        z* = g(z*; x),   output z*

    The input x is the *condition*, injected at every evaluation, and g is the same layer that a
    `HomoODE` takes for its F. Each sample of the batch has a fixed point of its own, and stands
    still once it has it. Samples without one within the tolerances get their best iterate, and a
    warning.

    Args:
        dynamics: Keras layer g called as `dynamics(z, x)`; it must not depend on time.
        solver: Name of a solver (`homoode_tf.solvers.fixed_point.names()`) or a
            `fixed_point.FixedPointSolver`, such as `fixed_point.Anderson(memory=8)`, which then has
            its own tolerances, limit and `on_failure`.
        rtol: Relative tolerance of a solver given by name; by default 1e-3. A sample has converged
            where rms(g - z) <= atol + rtol rms(g).
        atol: Absolute tolerance of a solver given by name; by default 1e-3.
        gradient: "implicit" solves the adjoint equation by the same method, to the same tolerances;
            "phantom" differentiates five damped steps at the fixed point; "jacobian_free" one
            plain step.
        jacobian_weight: Weight of the added loss |dg/dz|^2 (Hutchinson's estimate, a sample's mean
            over its elements) that keeps the fixed point easy to find; 0 adds none.
        initial_point: Where the iteration starts: as of `HomoODE`.
        **kwargs: For a solver given by name: `max_num_iterations`, of the forward and of the
            backward solve; `on_failure`, "warn", "raise" or "return" where samples do not converge.
            Keras layer arguments (`name`, `dtype`, ...).

    Call arguments:
        inputs: The condition x, float tensor of shape (batch, ..., channels).
        training: Whether the dynamics drops out and the initial point learns.

    Returns:
        z*, of the inputs' shape, in the layer's compute dtype.

    Attributes:
        forward_nfe: int64 scalar variable, evaluations of g in the last forward pass.
        backward_nfe: int64 scalar variable, evaluations of g in the last backward pass.
        residual: scalar variable of the state's dtype, the largest residual rms(g(z) - z) of a
            sample in the last forward pass.
        initial_point: The layer that makes the first iterate.

    Raises:
        ValueError: If an argument is not allowed, or the dynamics returns another shape than z's.
        FixedPointError: With on_failure="raise"; a graph raises `tf.errors.InvalidArgumentError`.

    Example:
        >>> from homoode_tf.layers import DEQ, ConvDynamics
        >>> layer = DEQ(ConvDynamics(8, groups=2), solver="anderson", on_failure="return")
        >>> layer(tf.random.normal([2, 4, 4, 8])).shape
        TensorShape([2, 4, 4, 8])

    Reference:
        Bai, Kolter and Koltun, "Deep Equilibrium Models", NeurIPS 2019,
        https://arxiv.org/abs/1909.01377
    """

    solver_settings = ("rtol", "atol", "max_num_iterations", "on_failure")

    def __init__(
        self,
        dynamics: keras.layers.Layer,
        solver: Any = "anderson",
        rtol: float | None = None,
        atol: float | None = None,
        *,
        gradient: str = "implicit",
        jacobian_weight: float = 0.0,
        initial_point: Any = "zeros",
        **kwargs,
    ):
        settings = {"rtol": rtol, "atol": atol}
        settings |= {name: kwargs.pop(name) for name in self.solver_settings if name in kwargs}
        super().__init__(dynamics, initial_point=initial_point, **kwargs)
        if self._dynamics_takes_time:
            raise InvalidValueError(
                f"A fixed point has no time, but {type(dynamics).__name__}.call takes one: give "
                "dynamics with call(self, z, x)."
            )
        checks.check_choice("gradient", gradient, fixed_point.MODES)
        checks.check_number("jacobian_weight", jacobian_weight, at_least=0)
        settings = {name: value for name, value in settings.items() if value is not None}
        if isinstance(solver, str) and solver in fixed_point.names():
            settings = {**_DEFAULTS, **settings}
        self.solver = fixed_point.get(solver, **settings)
        self.gradient = gradient
        self.jacobian_weight = float(jacobian_weight)

    def build(self, input_shape):
        super().build(input_shape)
        self.residual = self._replica_variable("residual", self.state_dtype.name, "mean")

    def solve(
        self,
        inputs: Any,
        *,
        solver: Any = None,
        training: bool = False,
        on_backward: Callable[[tf.Tensor], object] | None = None,
    ) -> Equilibrium:
        """Finds z* = g(z*; x), and changes nothing of the layer.

        Args:
            inputs: What the layer is called with.
            solver: Another solver than the layer's own, as `fixed_point.get` takes it.
            training: Whether the dynamics runs in training mode.
            on_backward: Told within a backward pass how many evaluations of g it made.

        Returns:
            An `Equilibrium`.

        Raises:
            FixedPointError: As of the layer's call.

        Example:
            >>> import tensorflow as tf
            >>> from homoode_tf.layers import ConvDynamics
            >>> layer = DEQ(ConvDynamics(4, groups=2), on_failure="return")
            >>> layer.solve(tf.ones([2, 3, 3, 4])).residual.shape
            TensorShape([2])
        """
        inputs = self.prepare(inputs)
        solver = self.solver if solver is None else fixed_point.get(solver)
        start = self.initial_state(inputs)
        bind, constants = self.bind_dynamics(inputs, start, training)
        field = bind(constants)
        # A fixed point of several tensors is sought as one vector for each sample.
        joined, split = structure.join(start)

        def fixed_map(state):
            image = tf.nest.pack_sequence_as(start, field(None, tf.nest.flatten(split(state))))
            return tf.cast(structure.join(image)[0], state.dtype)

        results = solver.solve(fixed_map, joined)
        state = fixed_point.differentiate(
            fixed_map,
            results.state,
            self.gradient,
            adjoint_solver=solver,
            on_backward=on_backward,
        )
        # The gradient goes through evaluations at the fixed point.
        evaluations = fixed_point.NUM_PHANTOM_STEPS if self.gradient == "phantom" else 1
        loss = None
        if training and self.jacobian_weight:
            penalty = fixed_point.jacobian_penalty(fixed_map, results.state)
            # Keras adds all losses up in this dtype, float64 layers' too.
            loss = self.jacobian_weight * tf.cast(penalty, keras.config.floatx())
        evaluations += results.num_evaluations
        return Equilibrium(split(state), results.residual, evaluations, results.status, loss)

    def observe(self, solution: Equilibrium, training: bool) -> list[tf.Tensor]:
        largest = tf.reduce_max(solution.residual)
        # Of an empty batch it is -inf.
        self.residual.assign(tf.where(tf.size(solution.residual) > 0, largest, 0.0))
        losses = super().observe(solution, training)
        return losses if solution.added_loss is None else [*losses, solution.added_loss]

    def serving_solver(self, step_control: str | None) -> fixed_point.FixedPointSolver:
        """The layer's own solver: it has no steps to control."""
        return self.solver

    def get_config(self):
        return {
            **super().get_config(),
            "solver": fixed_point.serialize(self.solver),
            "gradient": self.gradient,
            "jacobian_weight": self.jacobian_weight,
        }
