# SPDX-License-Identifier: Apache-2.0
"""The solve that all continuous-depth layers share: z' = F(t, z; x) from 0 to the final time."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import checks, solvers
from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import ode_solution, path_energy, solving, structure
from homoode_tf.layers.implicit_layer import ImplicitLayer
from homoode_tf.layers.ode_solution import ODESolution
from homoode_tf.solvers.ode import lookup, statement
from homoode_tf.solvers.ode.problem import Problem

# Both Keras and the solver know a name: here it is the layer's.
_SETTINGS = tuple(
    field.name for field in dataclasses.fields(solvers.Settings) if field.name != "name"
)


class ODELayer(ImplicitLayer):
    """Base of the layers whose output is the state z(T) of an ODE with dynamics F.

    A subclass decides in `initial_state` and `condition` what z(0) and x are.

    Args:
        dynamics: As of `ImplicitLayer`; returns dz/dt, of z's shape.
        solver: Name of a solver (`homoode_tf.solvers.names()`), any `tfp.math.ode.Solver`, or what
            else `homoode_tf.solvers.get` knows.
        rtol: Relative tolerance of a solver given by name.
        atol: Absolute tolerance of a solver given by name.
        final_time: T, a number of Python or NumPy above `initial_time`, in the unit of the
            dynamics' time. A tensor or variable is refused: only its value now would count.
        initial_time: Where the solve starts; a number.
        times: Numbers, where the solution is asked for: increasing from `initial_time` on, or
            decreasing. The output is then (batch, times, ...), and the last is the final time.
        learn_final_time: Whether T is a weight of the layer, which begins at `final_time`.
        kinetic_weight: Of a loss added in training, the mean over the batch of the integral of
            F^2 along the way (the mean over a state's elements).
        jacobian_weight: The same of the square of dF/dz's Frobenius norm, over the number of
            elements (Hutchinson's estimate, one vector a call). Both make solutions that need fewer
            steps (RNODE, https://arxiv.org/abs/2002.02798).
        error_weight: The same of the solver's error estimate, the integral of its square in units
            of the tolerance over the accepted steps; for a solver that controls its steps and has
            gradient="backprop" (https://arxiv.org/abs/2105.03918).
        final_time_spread: In training the final time is drawn anew in each call, uniformly between
            1 - spread and 1 + spread of the whole time; below 1 (STEER,
            https://arxiv.org/abs/2006.10711).
        **kwargs: Other settings of `homoode_tf.solvers.RungeKutta` for a solver given by name; what
            is not given is as there, but for rtol = atol = 1e-3, gradient="checkpoint", and ten
            times the tolerances for an adjoint without a solver of its own. Keras layer arguments
            (`name`, `dtype`, ...).

    Attributes:
        solver: The solver.
        step_size: scalar variable of the state's dtype, with which the next solve begins: what
            the last training batch found right for its first step. None where the solver does
            not control its step or is not of this package.

    Raises:
        ValueError: If an argument is not allowed; the message names it and what is.
    """

    solver_settings = _SETTINGS

    def __init__(
        self,
        dynamics: keras.layers.Layer,
        solver: Any = "dopri5",
        rtol: float | None = None,
        atol: float | None = None,
        final_time: float = 1.0,
        *,
        initial_time: float = 0,
        times: Any = None,
        learn_final_time: bool = False,
        kinetic_weight: float = 0.0,
        jacobian_weight: float = 0.0,
        error_weight: float = 0.0,
        final_time_spread: float = 0.0,
        **kwargs,
    ):
        settings = {"rtol": rtol, "atol": atol}
        settings |= {name: kwargs.pop(name) for name in _SETTINGS if name in kwargs}
        super().__init__(dynamics, **kwargs)
        checks.check_number("initial_time", initial_time)
        checks.check_flag("learn_final_time", learn_final_time)
        self.times = _check_times(times, initial_time, final_time, learn_final_time)
        if times is None:
            checks.check_number("final_time", final_time, above=initial_time or 0)
        self.initial_time, self.learn_final_time = float(initial_time), learn_final_time
        self.final_time = self.times[-1] if self.times else float(final_time)
        checks.check_number("kinetic_weight", kinetic_weight, at_least=0)
        checks.check_number("jacobian_weight", jacobian_weight, at_least=0)
        checks.check_number("error_weight", error_weight, at_least=0)
        checks.check_number("final_time_spread", final_time_spread, at_least=0, below=1)
        self.kinetic_weight = float(kinetic_weight)
        self.jacobian_weight = float(jacobian_weight)
        self.error_weight = float(error_weight)
        self.final_time_spread = float(final_time_spread)
        if self.jacobian_weight or self.final_time_spread:
            self.seed_generator = keras.random.SeedGenerator()
        self.solver = solving.make_solver(solver, settings)
        if error_weight:
            path_energy.check_error_is_differentiable(self.solver)

    @property
    def supports_jit(self) -> bool:
        """Whether XLA can compile the backward pass; Keras asks where it is to compile a model."""
        advice = solving.to_compile(self.solver)
        if advice:
            warnings.warn(f"{self.name!r} is not compiled. {advice}.", stacklevel=2)
        return not advice

    @supports_jit.setter
    def supports_jit(self, value: bool) -> None:
        """Keras's own default counts for nothing."""

    def build(self, input_shape):
        super().build(input_shape)
        if self.learn_final_time:
            self._learned_time = self.add_weight(
                name="final_time",
                shape=(),
                dtype=self.state_dtype.name,
                initializer=keras.initializers.Constant(self.final_time),
                autocast=False,
            )
        self.step_size = None
        if isinstance(self.solver, solvers.RungeKutta) and self.solver.adaptive:
            # Zero: no batch was solved yet, and the solver chooses its first step itself.
            self.step_size = self._replica_variable("step_size", self.state_dtype.name, "mean")

    def call(self, inputs, training=False, times=None):
        if tf.is_tensor(times) and times.dtype in (tf.float16, tf.bfloat16):
            raise InvalidValueError(
                f"times lost their digits on the way: Keras cast them to {times.dtype.name}. Give "
                "them as Python numbers, or call layer.solve."
            )
        asked = self.times if times is None else times
        solution = self.solve(inputs, times=times, **self.arguments_of_call(training))
        output = solution.final_state if asked is None else solution.states
        return self.finish_call(solution, output, training)

    def compute_output_shape(self, input_shape):
        shape = self.state_shape(input_shape)
        return shape if self.times is None else _with_times(shape, len(self.times))

    # Beside `compute_output_shape`, whose arguments Keras wants in the `call` of subclasses, too.
    def compute_output_spec(self, inputs, *args, times=None, **kwargs):
        spec = super().compute_output_spec(inputs, *args, **kwargs)
        if times is None:
            return spec
        number = _as_times(times, self.state_dtype).shape[-1]
        shape = _with_times(self.state_shape(structure.shapes(inputs)), number)
        return structure.symbolic(shape, self.compute_dtype)

    def solve(
        self,
        inputs: tf.Tensor,
        times: Any = None,
        solver: Any = None,
        training: bool = False,
        on_backward: Callable[[tf.Tensor], object] | None = None,
        event_fn: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    ) -> ODESolution:
        """Solves z' = F(t, z; x), z(t0) = z0, and changes nothing of the layer.

        With training=True the dynamics draws its dropout masks from the layer's random state, as
        every call does.

        Args:
            inputs: What the layer is called with.
            times: Where the solution is asked for, increasing or decreasing from `initial_time` on:
                a list or tensor of shape (times,), or (batch, times) for times of each sample's own
                with step_control="sample"; or `tfp.math.ode.ChosenBySolver(T)` for all steps. None
                takes the layer's.
            solver: Another solver than the layer's own, as `homoode_tf.solvers.get` takes it, for
                instance `layer.solver.replace(step_control="sample")`.
            training: Whether the dynamics runs in training mode.
            on_backward: Told within the backward pass how many evaluations of F it made, an int32
                scalar.
            event_fn: As of `homoode_tf.solvers.RungeKutta.solve`: the solve ends where
                `event_fn(t, z)` is zero, at the latest at the only one of the times.

        Returns:
            An `ODESolution`.

        Raises:
            ValueError: If an argument is not allowed.
            SolverError: As of the layer's call.

        Example:
            >>> import tensorflow as tf
            >>> from homoode_tf.layers import ConvDynamics, NeuralODE
            >>> layer = NeuralODE(ConvDynamics(4, groups=2))
            >>> layer.solve(tf.ones([2, 3, 3, 4]), times=[0.5, 1.0]).states.shape
            TensorShape([2, 2, 3, 3, 4])
        """
        inputs = self.prepare(inputs)
        solver = self.solver if solver is None else solving.make_solver(solver, {})
        problem = self.problem(inputs, times, training, on_backward)
        first_step_size = self._first_step_size(solver)
        if event_fn is not None:
            event = lambda time, state: event_fn(time, problem.pack(state))  # noqa: E731
            solution = solving.solve_to_event(solver, problem, event, first_step_size)
        else:
            if problem.solution_times.shape.rank == 2:
                solver, problem = solving.by_sample(solver, problem)
                first_step_size = None
            if training and self.error_weight:
                problem = path_energy.add_error(problem, solver)
            solution = lookup.as_problem_solver(solver).solve_problem(problem, first_step_size)
        return ode_solution.of(solution, problem, event_fn is not None, self.error_weight)

    def problem(
        self,
        inputs: tf.Tensor,
        times: Any = None,
        training: bool = False,
        on_backward: Callable[[tf.Tensor], object] | None = None,
    ) -> Problem:
        """States the layer's initial value problem; the arguments are those of `solve`."""
        start = self.initial_state(inputs)
        state = [tf.cast(y, self.state_dtype) for y in tf.nest.flatten(start)]
        every_step = isinstance(times, tfp.math.ode.ChosenBySolver)
        times = [times.final_time] if every_step else times
        if times is None:
            differentiable, times = self.learn_final_time, self.times or [self._end(training)]
        else:
            differentiable = any(tf.is_tensor(t) for t in tf.nest.flatten(times))
        bind, constants = self.bind_dynamics(inputs, start, training)
        problem = Problem(
            bind=bind,
            constants=constants,
            stage_dtype=self._stage_dtype,
            initial_time=tf.constant(self.initial_time, self.state_dtype),
            initial_state=state,
            structure=tf.nest.map_structure(lambda _: None, start),
            solution_times=_as_times(times, self.state_dtype),
            every_step=every_step,
            differentiable_times=differentiable,
            on_backward=on_backward,
        )
        statement.check_resolution(self.initial_time, times, self.state_dtype)
        if not training or not (self.kinetic_weight or self.jacobian_weight):
            return problem
        noises = path_energy.draw(state, self.seed_generator) if self.jacobian_weight else []
        return path_energy.add_energy(problem, self.kinetic_weight, self.jacobian_weight, noises)

    def _end(self, training: bool) -> float | tf.Tensor:
        """T, or in training with a spread a time near it."""
        end = self._learned_time.value if self.learn_final_time else self.final_time
        if not training or not self.final_time_spread:
            return end
        spread, dtype = self.final_time_spread, self.state_dtype.name
        factor = keras.random.uniform((), 1 - spread, 1 + spread, dtype, self.seed_generator)
        start = self.initial_time
        return start + (end - start) * tf.convert_to_tensor(factor)

    def observe(self, solution: ODESolution, training: bool) -> list[tf.Tensor]:
        if training and self.step_size is not None:
            # Neighbouring batches want nearly the same first step: remembering it saves the
            # evaluations that choosing it costs, and the rejection of a step too long.
            found = tf.reduce_min(solution.diagnostics.first_step_size)
            # Of an empty batch nothing was found.
            self.step_size.assign(tf.where(tf.math.is_finite(found), found, self.step_size.value))
        losses = super().observe(solution, training)
        if solution.energy is not None:
            # Of an empty batch the mean is not a number; Keras adds losses up in this dtype.
            mean = tf.math.divide_no_nan(
                tf.reduce_sum(solution.energy),
                tf.cast(tf.size(solution.energy), solution.energy.dtype),
            )
            losses = [*losses, tf.cast(mean, keras.config.floatx())]
        return losses

    def serving_solver(self, step_control: str | None) -> tfp.math.ode.Solver:
        """The layer's solver for an exported model.

        It controls its steps as asked for (fixed steps treat all samples alike, and stay), has the
        `step_size` as it is now for its first step, a constant, and records nothing for a gradient:
        so it has loops, but no branch in which the dynamics is evaluated.

        Args:
            step_control: "sample", "batch", or None for the solver's own.

        Raises:
            ValueError: If it is none of these, or is "sample" and the solver is not of this
                package.
        """
        if isinstance(self.solver, solvers.RungeKutta):
            # The mode whose forward pass is the plain solve.
            changes: dict[str, Any] = {"gradient": "adjoint"}
            if self.solver.adaptive:
                with tf.init_scope():  # where a graph is traced, too
                    # Of replicas that each have their own it is the mean.
                    size = float(tf.convert_to_tensor(self.step_size.value))
                changes["first_step_size"] = size or None
                if step_control is not None:
                    changes["step_control"] = step_control
            return self.solver.replace(**changes)
        if step_control not in (None, "batch"):
            name = type(self.solver).__name__
            raise InvalidValueError(
                f"step_control must be 'batch' with {name}, which takes one step for the whole "
                f"batch, got {step_control!r}. Give {self.name!r} a solver by name."
            )
        return self.solver

    def _first_step_size(self, solver: tfp.math.ode.Solver) -> tf.Tensor | None:
        """What was remembered, for a solver that can use it and has no setting of its own."""
        if self.step_size is None or not isinstance(solver, solvers.RungeKutta):
            return None
        settled = not solver.adaptive or solver.settings.first_step_size is not None
        return None if settled else self.step_size.value

    def get_config(self):
        return {
            **super().get_config(),
            "solver": solvers.serialize(self.solver),
            "final_time": self.final_time,
            "initial_time": self.initial_time,
            "times": self.times,
            "learn_final_time": self.learn_final_time,
            "kinetic_weight": self.kinetic_weight,
            "jacobian_weight": self.jacobian_weight,
            "error_weight": self.error_weight,
            "final_time_spread": self.final_time_spread,
        }


def _with_times(shape: Any, number: int) -> Any:
    """The shapes of so many states."""
    return structure.map_shapes(lambda each: (each[0], number, *each[1:]), shape)


def _as_times(times: Any, dtype: tf.DType) -> Any:
    """Times of all samples or of each one's own, as a tensor, symbolic ones as they are."""
    if not isinstance(times, keras.KerasTensor):
        times = statement.as_times(times, dtype)
    if tf.TensorShape(times.shape).rank not in (1, 2):
        raise InvalidValueError(
            "times must be a list of numbers, or of shape (batch, times) with "
            f"step_control='sample', got shape {times.shape}."
        )
    return times


def _check_times(times: Any, start: float, final_time: float, learned: bool) -> list[float] | None:
    """The fixed times of a layer, as numbers."""
    if times is None:
        return None
    times = checks.numbers_of("times", times)
    statement.check_order("times", start, np.asarray(times))
    if learned or final_time not in (1.0, times[-1]):
        raise InvalidValueError(
            f"final_time={final_time} and learn_final_time have no meaning beside times, whose "
            "last is the final one."
        )
    return times
