# SPDX-License-Identifier: Apache-2.0
"""The deep equilibrium layer: the output is a fixed point."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from homoode_tf.checks import check_choice
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers.shared_start import SharedStart
from homoode_tf.solvers import fixed_point

# Of a solver given by name.
_DEFAULTS = {"rtol": 1e-3, "atol": 1e-3, "max_num_iterations": 50, "on_failure": "warn"}


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
        rtol: Relative tolerance; positive. A sample has converged where
            rms(g - z) <= atol + rtol rms(g). This and what follows to max_num_iterations, and
            `on_failure`, are for a solver given by name.
        atol: Absolute tolerance; positive.
        max_num_iterations: Largest number of iterations, of the forward and of the backward solve.
        gradient: "implicit" solves the adjoint equation by the same method, to the same tolerances;
            "phantom" differentiates five damped steps at the fixed point; "jacobian_free" one
            plain step.
        jacobian_weight: Weight of the added loss |dg/dz|^2 (Hutchinson's estimate, a sample's mean
            over its elements) that keeps the fixed point easy to find; 0 adds none.
        initial_point: Where the iteration starts: as of `HomoODE`.
        on_failure: "warn", "raise" or "return" where samples do not converge.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

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
        >>> layer = DEQ(ConvDynamics(64), solver="anderson", on_failure="return")
        >>> layer(tf.random.normal([8, 16, 16, 64])).shape
        TensorShape([8, 16, 16, 64])

    Reference:
        Bai, Kolter and Koltun, "Deep Equilibrium Models", NeurIPS 2019,
        https://arxiv.org/abs/1909.01377
    """

    def __init__(
        self,
        dynamics: keras.layers.Layer,
        solver: str | fixed_point.FixedPointSolver = "anderson",
        rtol: float = _DEFAULTS["rtol"],
        atol: float = _DEFAULTS["atol"],
        max_num_iterations: int = _DEFAULTS["max_num_iterations"],
        gradient: str = "implicit",
        jacobian_weight: float = 0.0,
        initial_point: str | keras.layers.Layer = "zeros",
        on_failure: str = _DEFAULTS["on_failure"],
        **kwargs,
    ):
        super().__init__(dynamics, initial_point=initial_point, **kwargs)
        if self._dynamics_takes_time:
            raise InvalidValueError(
                f"A fixed point has no time, but {type(dynamics).__name__}.call takes one: give "
                "dynamics with call(self, z, x)."
            )
        check_choice("gradient", gradient, fixed_point.MODES)
        if not jacobian_weight >= 0:
            raise InvalidValueError(f"jacobian_weight must be at least 0, got {jacobian_weight!r}.")
        options = {
            "rtol": rtol,
            "atol": atol,
            "max_num_iterations": max_num_iterations,
            "on_failure": on_failure,
        }
        self._solver = _make_solver(solver, options)
        self.solver = solver
        self.rtol = float(rtol)
        self.atol = float(atol)
        self.max_num_iterations = int(max_num_iterations)
        self.gradient = gradient
        self.jacobian_weight = float(jacobian_weight)
        self.on_failure = on_failure

    def build(self, input_shape):
        super().build(input_shape)
        self.residual = self._replica_variable("residual", self.state_dtype.name, "mean")

    def call(self, inputs, training=False):
        condition, initial_state = self.begin(inputs)
        evaluate = self.hold_dynamics(tf.shape(condition)[0], training)

        def fixed_map(state):
            return evaluate(None, state, condition)

        results = self._solver.solve(fixed_map, initial_state)
        state = fixed_point.differentiate(
            fixed_map,
            results.state,
            self.gradient,
            adjoint_solver=self._solver,
            on_backward=self.backward_nfe.assign,
        )
        # The gradient goes through evaluations at the fixed point.
        evaluations = fixed_point.NUM_PHANTOM_STEPS if self.gradient == "phantom" else 1
        self.report(self.forward_nfe, results.num_evaluations + evaluations)
        self.report(self.residual, tf.reduce_max(results.residual))
        if training and self.jacobian_weight:
            penalty = fixed_point.jacobian_penalty(fixed_map, results.state)
            # Keras adds all losses up in this dtype, float64 layers' too.
            self.add_loss(self.jacobian_weight * tf.cast(penalty, keras.config.floatx()))
        self.observe(state, training)
        return tf.cast(state, self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "solver": fixed_point.serialize(self.solver),
            "rtol": self.rtol,
            "atol": self.atol,
            "max_num_iterations": self.max_num_iterations,
            "gradient": self.gradient,
            "jacobian_weight": self.jacobian_weight,
            "on_failure": self.on_failure,
        }

    @classmethod
    def from_config(cls, config):
        return super().from_config({**config, "solver": fixed_point.deserialize(config["solver"])})


def _make_solver(
    solver: str | fixed_point.FixedPointSolver, options: Mapping[str, Any]
) -> fixed_point.FixedPointSolver:
    if isinstance(solver, str):
        return fixed_point.get(solver, **options)
    if not isinstance(solver, fixed_point.FixedPointSolver):
        raise InvalidValueError(
            f"solver must be one of {', '.join(fixed_point.names())} or a "
            f"homoode_tf.solvers.fixed_point.FixedPointSolver, got {solver!r}."
        )
    changed = {name: value for name, value in options.items() if value != _DEFAULTS[name]}
    if changed:
        raise InvalidValueError(
            f"{', '.join(changed)} belong to a solver given by name; this layer got an object "
            f"together with {changed}. Set them on {type(solver).__name__} itself."
        )
    return solver
