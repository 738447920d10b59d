# SPDX-License-Identifier: Apache-2.0
"""The solve that all continuous-depth layers share: z' = F(t, z; x) from 0 to the final time."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers.implicit_layer import ImplicitLayer
from homoode_tf.solvers.ode import counting, serialization
from homoode_tf.solvers.ode.solution import MAX_NUM_STEPS

_DEFAULT_RTOL = 1e-3
_DEFAULT_ATOL = 1e-3
_DEFAULT_GRADIENT = "checkpoint"


class ODELayer(ImplicitLayer):
    """Base of the layers whose output is the state z(T) of an ODE with dynamics F.

    A subclass decides in its `call` what the initial state and the condition are, and hands them
    to `integrate`.

    Args:
        dynamics: As of `ImplicitLayer`; returns dz/dt, of z's shape.
        solver: Name of a solver (`homoode_tf.solvers.names()`) or any `tfp.math.ode.Solver`.
        rtol: Relative tolerance, for a solver given by name.
        atol: Absolute tolerance, for a solver given by name.
        final_time: T, in the unit of the dynamics' time; the solve starts at 0.
        gradient: A mode of `homoode_tf.solvers`, for a solver given by name; "adjoint" is solved to
            ten times the tolerances.
        step_control: "batch" (one step size for all samples, the faster) or "sample" (each sample
            its own, so that its result does not depend on the others), for a solver given by name.
        max_num_steps: Largest number of steps tried, for a solver given by name. XLA
            (jit_compile=True) compiles "checkpoint" and "backprop" if it is at most 1024, and
            reserves the memory of so many steps.
        **kwargs: Keras layer arguments (`name`, `dtype`, ...).

    Attributes:
        step_size: scalar variable of the state's dtype, with which the next solve begins: what
            the last training batch found right for its first step. None where the solver does
            not control its step or is not of this package.

    Raises:
        ValueError: If an argument is not allowed; the message names it and what is.
    """

    def __init__(
        self,
        dynamics: keras.layers.Layer,
        solver: str | tfp.math.ode.Solver = "dopri5",
        rtol: float = _DEFAULT_RTOL,
        atol: float = _DEFAULT_ATOL,
        final_time: float = 1.0,
        gradient: str = _DEFAULT_GRADIENT,
        step_control: str = "batch",
        max_num_steps: int = MAX_NUM_STEPS,
        **kwargs,
    ):
        super().__init__(dynamics, **kwargs)
        for name, value in (("rtol", rtol), ("atol", atol), ("final_time", final_time)):
            if not value > 0:
                raise InvalidValueError(f"{name} must be positive, got {value!r}.")
        self.solver = solver
        self.rtol = float(rtol)
        self.atol = float(atol)
        self.final_time = float(final_time)
        self.gradient = gradient
        self.step_control = step_control
        self.max_num_steps = max_num_steps
        self._solver = self._make_solver(step_control, gradient)
        # The first step while the layer serves; otherwise it is `step_size`'s.
        self._constant_step_size: float | None = None
        # Where XLA cannot compile the backward pass, Keras's jit_compile="auto" is to know.
        self.supports_jit = getattr(self._solver, "gradient_compiles", True)

    def _make_solver(self, step_control: str, gradient: str) -> tfp.math.ode.Solver:
        if isinstance(self.solver, str):
            # The adjoint to ten times the tolerance: with the CIFAR-10 model, eight images and 1e-3
            # it takes 26 evaluations instead of 67, and the gradient's error grows from 2.0 to 2.4
            # per cent, by which the exact derivative of that forward solve is off as well.
            return solvers.get(
                self.solver,
                rtol=self.rtol,
                atol=self.atol,
                gradient=gradient,
                step_control=step_control,
                max_num_steps=self.max_num_steps,
                adjoint_rtol=10 * self.rtol,
                adjoint_atol=10 * self.atol,
            )
        if not isinstance(self.solver, tfp.math.ode.Solver):
            raise InvalidValueError(
                f"solver must be one of {', '.join(solvers.names())} or a tfp.math.ode.Solver, "
                f"got {self.solver!r}."
            )
        given = (self.rtol, self.atol, self.gradient, self.step_control, self.max_num_steps)
        if given != (_DEFAULT_RTOL, _DEFAULT_ATOL, _DEFAULT_GRADIENT, "batch", MAX_NUM_STEPS):
            raise InvalidValueError(
                "rtol, atol, gradient, step_control and max_num_steps belong to a solver given by "
                f"name; this layer got the object {self.solver!r} together with rtol={self.rtol}, "
                f"atol={self.atol}, gradient={self.gradient!r}, "
                f"step_control={self.step_control!r}, max_num_steps={self.max_num_steps}. Set them "
                "on the solver itself."
            )
        return self.solver

    @contextlib.contextmanager
    def controlling_steps_by(self, step_control: str) -> Iterator[None]:
        """Within this context the solver controls its steps by "batch" or by "sample".

        It has no effect on functions traced before. Fixed steps treat all samples alike, and stay.

        Args:
            step_control: As in the constructor.

        Raises:
            ValueError: If it is neither, or is "sample" and the solver is not of this package.
        """
        own = self._solver
        self._solver = self._changed_solver(step_control)
        try:
            yield
        finally:
            self._solver = own

    @contextlib.contextmanager
    def serving(self, step_control: str) -> Iterator[None]:
        """Within this context the layer solves for its output alone, as an exported model does.

        What is traced here changes no variable, records nothing for a gradient, and has the
        `step_size` as it is now for its first step, a constant. So it has loops, but no branch in
        which the dynamics is evaluated. It has no effect on functions traced before.

        Args:
            step_control: As of `controlling_steps_by`.

        Raises:
            ValueError: As of `controlling_steps_by`.
        """
        own = self._solver
        # The mode whose forward pass is the plain solve.
        self._solver = self._changed_solver(step_control, gradient="adjoint")
        if self.step_size is not None:
            # Of replicas that each have their own it is the mean.
            self._constant_step_size = float(tf.convert_to_tensor(self.step_size.value))
        try:
            with super().serving(step_control):
                yield
        finally:
            self._solver, self._constant_step_size = own, None

    def _changed_solver(self, step_control: str, gradient: str | None = None):
        """The layer's solver with another step control and, where given, another gradient."""
        own = self._solver
        if isinstance(self.solver, str):
            return self._make_solver(step_control, gradient or self.gradient)
        if isinstance(own, solvers.RungeKutta):
            changes = {"gradient": gradient} if gradient else {}
            if own.adaptive:
                changes["step_control"] = step_control
            return own.replace(**changes)
        if step_control != "batch":
            raise InvalidValueError(
                f"step_control must be 'batch' with {type(own).__name__}, which takes one step for "
                f"the whole batch, got {step_control!r}. Give {self.name!r} a solver by name."
            )
        return own

    def build(self, input_shape):
        super().build(input_shape)
        self.step_size = None
        if isinstance(self._solver, solvers.RungeKutta) and self._solver.adaptive:
            # Zero: no batch was solved yet, and the solver chooses its first step itself.
            self.step_size = self._replica_variable("step_size", self.state_dtype.name, "mean")

    def integrate(
        self, initial_state: tf.Tensor, condition: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        """Solves dz/dt = F(t, z; x), z(0) = initial_state.

        Args:
            initial_state: z(0), of shape (batch, ...).
            condition: x, of shape (batch, ...), or None for dynamics without; gradients reach it.
            training: Whether the dynamics runs in training mode.

        Returns:
            z(T), of the shape of the initial state, in `state_dtype`.
        """
        initial_state = tf.cast(initial_state, self.state_dtype)
        constants = {}
        if condition is not None:
            constants["condition"] = tf.cast(condition, self.state_dtype)
        evaluate = self.hold_dynamics(tf.shape(initial_state)[0], training)

        def ode_fn(time, state, **constants):
            return evaluate(time, state, *constants.values())

        step_size = self._constant_step_size
        if step_size is None and self.step_size is not None:
            step_size = self.step_size.value
        results = counting.solve_counted(
            self._solver,
            ode_fn,
            initial_state=initial_state,
            final_time=self.final_time,
            constants=constants,
            on_backward=self.backward_nfe.assign,
            first_step_size=step_size,
        )
        self.report(self.forward_nfe, results.diagnostics.num_ode_fn_evaluations)
        if training and self.step_size is not None:
            # Neighbouring batches want nearly the same first step: remembering it saves the
            # evaluations that choosing it costs, and the rejection of a step too long.
            self.step_size.assign(tf.reduce_min(results.diagnostics.first_step_size))
        final_state = results.states[0]
        final_state.set_shape(initial_state.shape)
        return final_state

    def get_config(self):
        return {
            **super().get_config(),
            "solver": serialization.serialize(self.solver),
            "rtol": self.rtol,
            "atol": self.atol,
            "final_time": self.final_time,
            "gradient": self.gradient,
            "step_control": self.step_control,
            "max_num_steps": self.max_num_steps,
        }

    @classmethod
    def from_config(cls, config):
        return super().from_config(
            {**config, "solver": serialization.deserialize(config["solver"])}
        )
