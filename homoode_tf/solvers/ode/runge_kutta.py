# SPDX-License-Identifier: Apache-2.0
"""Explicit Runge-Kutta solvers under the interface of TensorFlow Probability."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import identifiers
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.solvers.ode import events, joined, saved, statement, tableaus
from homoode_tf.solvers.ode.adjoint import Adjoint
from homoode_tf.solvers.ode.backprop import Backprop
from homoode_tf.solvers.ode.checkpoint import Checkpoint
from homoode_tf.solvers.ode.interpolant import Interpolant
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import (
    DenseResults,
    Diagnostics,
    Solution,
    SolverInternalState,
)
from homoode_tf.solvers.ode.settings import Settings
from homoode_tf.solvers.ode.tableau import ButcherTableau

_GRADIENTS: dict[str, type[Adjoint | Checkpoint | Backprop]] = {
    "adjoint": Adjoint,
    "checkpoint": Checkpoint,
    "backprop": Backprop,
}


@keras.saving.register_keras_serializable(package="homoode_tf")
class RungeKutta(tfp.math.ode.Solver):
    """An explicit Runge-Kutta method, with or without step size control.

    Solves z'(t) = F(t, z(t)), z(t0) = z0. A step is accepted if the root mean square of
    error / (atol + rtol max(|z_n|, |z_n+1|)) over the whole state is at most one. The last step
    ends exactly at the final time. Not for stiff problems: use "bdf" there.

    The gradient modes, all with gradients to the initial state, `constants`, variables, and the
    times if these are tensors (pass Python numbers where no gradient is wanted):

    * "adjoint": solves the adjoint equation backwards. Constant memory; exact up to its tolerance.
    * "checkpoint": the exact derivative of the steps taken. Stores one state a step, and computes
      each step again in the backward pass.
    * "backprop": the same derivative, with everything stored. Fastest; the only mode with second
      derivatives.

    With step_control="sample" every sample of the leading dimension has a time, a step size and an
    acceptance of its own, so that its result does not depend on the other samples. `ode_fn` then
    gets a time of shape (batch,). The adjoint equation is still solved for the whole batch at
    once, by the step that suits its worst sample.

    States in float16 and bfloat16 are integrated in float32; `ode_fn` still sees its own dtype.

    Train inside `tf.function`: in eager mode the tapes around a solve hold on to all of its forward
    operations, and "adjoint" and "checkpoint" save no memory. Under jit_compile=True set
    max_num_steps to a small number for "checkpoint" (at most 1024) and "backprop": XLA reserves the
    memory of all these steps at once.

    Args:
      tableau: The method, a `ButcherTableau` or the name of one.
      rtol: Relative tolerance (adaptive stepping): a number, or, for a state of several components,
        one for each in their order (a dict's is that of its sorted keys); an array gives the
        elements of a component their own, and must broadcast to its shape.
      atol: Absolute tolerance (adaptive stepping), likewise.
      first_step_size: First step size: a number, tensor or variable; None or a value that is not
        positive asks for Hairer's choice, which costs one evaluation more.
      num_steps: Take this many equal steps, without control.
      step_size: Take steps of this size, without control.
      max_num_steps: Largest number of steps tried, rejected ones included.
      max_step_size: The longest step (adaptive stepping). What happens within a time shorter than
        the steps, a pulse of the right side say, may else be stepped over.
      stop_times: Numbers, the times at which the right side jumps. A step ends at each of them that
        lies within the interval, and evaluates the right side on its own side alone; first-same-
        as-last methods then need one evaluation more a step.
      gradient: One of "adjoint", "checkpoint", "backprop".
      step_control: "batch" (one step for all) or "sample".
      on_failure: "raise" an error, or "return" the last state; `diagnostics.status` tells why.
        Compiled by XLA nothing can raise: the states, or the gradients, are NaN there instead.
      adjoint_rtol: Relative tolerance of the adjoint equation; None means rtol.
      adjoint_atol: Absolute tolerance of the adjoint equation, whose solution is scaled to size
        one; None means atol.
      adjoint_solver: Another `tfp.math.ode.Solver` (or its saved description) for the adjoint
        equation of gradient="adjoint"; one that is no `RungeKutta`, such as `tfp.math.ode.BDF`
        where the equation is stiff, has its own tolerances, and judges the gradients by weights
        with the rest.
      make_adjoint_solver_fn: TFP's way to give it: a function that makes the solver.
      safety_factor: Factor by which a step size stays below the largest expected to be accepted.
      min_step_size_factor: Least change of the step size from one step to the next.
      max_step_size_factor: Largest change.
      validate_args: Of no effect: times are always checked.
      name: Name in messages and graphs; None takes the tableau's.

    Attributes:
      settings: All of these, a frozen `Settings`.

    Raises:
      ValueError: If an argument has a value that is not allowed.
      TypeError: If `tableau` or `adjoint_solver` is of the wrong type, or an argument is unknown.

    Example:
        >>> import tensorflow as tf
        >>> solver = RungeKutta("tsit5", rtol=1e-6, atol=1e-6, gradient="checkpoint")
        >>> results = solver.solve(lambda t, z: -z, 0.0, tf.ones([3]), [1.0])
        >>> results.states[-1].numpy().round(4)
        array([0.3679, 0.3679, 0.3679], dtype=float32)

    Reference: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, chapter II.
    """

    def __init__(
        self,
        tableau: ButcherTableau | str,
        *,
        make_adjoint_solver_fn: Callable[[], tfp.math.ode.Solver] | None = None,
        **settings: Any,
    ):
        if make_adjoint_solver_fn is not None:
            settings = {**settings, "adjoint_solver": make_adjoint_solver_fn()}
        known = [field.name for field in dataclasses.fields(Settings)]
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise InvalidTypeError(
                f"RungeKutta has no setting {unknown[0]!r}; it has {', '.join(known)}."
            )
        adjoint_solver = settings.get("adjoint_solver")
        if isinstance(adjoint_solver, Mapping):
            adjoint_solver = _from_description(adjoint_solver)
        if adjoint_solver is not None and not isinstance(adjoint_solver, tfp.math.ode.Solver):
            raise InvalidTypeError(
                "adjoint_solver must be a tfp.math.ode.Solver, such as RungeKutta('tsit5') or "
                f"tfp.math.ode.BDF(), got {adjoint_solver!r}."
            )
        self.settings = Settings(
            **{**settings, "tableau": tableau, "adjoint_solver": adjoint_solver}
        )
        super().__init__(
            make_adjoint_solver_fn=lambda: adjoint_solver or self,
            validate_args=self.settings.validate_args,
            name=self.settings.name or self.settings.tableau.name,
        )

    @property
    def tableau(self) -> ButcherTableau:
        """The coefficients of the method."""
        return self.settings.tableau

    @property
    def adaptive(self) -> bool:
        """Whether step sizes are controlled."""
        return not self.settings.fixed

    @property
    def gradient_compiles(self) -> bool:
        """Whether XLA can compile the backward pass: it must know a bound on stored steps."""
        return self.settings.gradient == "adjoint" or self.settings.stores_fixed_arrays

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this solver again, as plain values.

        Raises:
          ValueError: If the first step size is a tensor, or the adjoint solver cannot be saved.
        """
        config = self._arguments()
        size = config["first_step_size"]
        if size is not None and not isinstance(size, numbers.Real):
            raise InvalidValueError(f"first_step_size must be a number to be saved, got {size!r}.")
        config["tableau"] = tableaus.serialize(self.tableau)
        config["stop_times"] = list(config["stop_times"])
        if isinstance(config["adjoint_solver"], RungeKutta):
            config["adjoint_solver"] = config["adjoint_solver"].get_config()
        elif config["adjoint_solver"] is not None:
            config["adjoint_solver"] = saved.serialize(config["adjoint_solver"])
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RungeKutta:
        """Makes the solver that `get_config` described."""
        # Saved when an adjoint solver beside another gradient was only of no effect.
        unused = config.get("gradient", "adjoint") != "adjoint"
        return cls(**{**config, "adjoint_solver": None} if unused else config)

    def replace(self, **changes: Any) -> RungeKutta:
        """Returns a solver like this one but for some of the constructor's arguments.

        Args:
          **changes: Arguments of the constructor.

        Raises:
          ValueError: If a value is not allowed.
          TypeError: If there is no such argument.
        """
        return type(self)(**{**self._arguments(), **changes})

    def _arguments(self) -> dict[str, Any]:
        fields = dataclasses.fields(self.settings)
        return {field.name: getattr(self.settings, field.name) for field in fields}

    def __reduce__(self):
        return functools.partial(type(self), **self._arguments()), ()

    def __repr__(self) -> str:
        defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
        changed = [
            f", {name}={value!r}"
            for name, value in self._arguments().items()
            if name != "tableau" and value != defaults[name]
        ]
        return f"{type(self).__name__}({self.tableau.name!r}{''.join(changed)})"

    def solve(
        self,
        ode_fn: Callable[..., Any],
        initial_time: Any,
        initial_state: Any,
        solution_times: Any,
        jacobian_fn: Any = None,
        jacobian_sparsity: Any = None,
        batch_ndims: int | None = None,
        previous_solver_internal_state: SolverInternalState | None = None,
        constants: Mapping[str, Any] | None = None,
        on_backward: Callable[[tf.Tensor], None] | None = None,
        event_fn: Callable[[tf.Tensor, Any], tf.Tensor] | None = None,
        dense: bool = False,
    ) -> tfp.math.ode.Results | DenseResults:
        """Solves an initial value problem; see `tfp.math.ode.Solver.solve`.

        Args:
          ode_fn: `ode_fn(t, z, **constants)`, of the structure and shapes of z. t is a scalar, with
            step_control="sample" a tensor of shape (batch,).
          initial_time: Scalar.
          initial_state: Nested structure of tensors of one dtype.
          solution_times: Increasing times, shape (n,), or decreasing ones, to solve backwards, or
            `tfp.math.ode.ChosenBySolver`.
          jacobian_fn: Of no use to explicit methods.
          jacobian_sparsity: Of no use to explicit methods.
          batch_ndims: None; 0 with step_control="batch", 1 with "sample" say the same.
          previous_solver_internal_state: `SolverInternalState` with the first step size; a step
            size that is not positive asks for Hairer's choice.
          constants: Named (nested) tensors, passed to `ode_fn` and differentiated by.
          on_backward: Called within the backward pass with its number of evaluations of `ode_fn`,
            an int32 scalar; one evaluation with its vector-Jacobian product counts once.
          event_fn: `event_fn(t, z)`, a real tensor of t's shape. The solve ends where it first
            changes its sign, at the latest at the only one of the solution times; `times` says
            when, of shape (1,), or (1, batch) with step_control="sample". It costs a second solve.
          dense: Whether the results have an `interpolant(times)`, for any times of the interval. It
            costs the evaluations of the accepted steps once more.

        Returns:
          `tfp.math.ode.Results` (`DenseResults` if dense) with `times` (n,), `states` (n, ...) in
          the structure of the initial state, `diagnostics` (see `Diagnostics`) and
          `solver_internal_state`.

        Raises:
          ValueError: If the arguments do not fit each other, or the tolerances are below the
            resolution of the state's dtype.
          SolverError: If the solve fails, in eager mode; a graph raises InvalidArgumentError.
        """
        del jacobian_fn, jacobian_sparsity
        allowed = 1 if self.settings.step_control == "sample" else 0
        if batch_ndims is not None and batch_ndims != allowed:
            raise InvalidValueError(
                f"batch_ndims must be None or {allowed} with this solver's step_control, got "
                f"{batch_ndims}; step_control='sample' makes one leading dimension a batch."
            )
        problem = statement.of(
            ode_fn, initial_time, initial_state, solution_times, constants, on_backward
        )
        previous = previous_solver_internal_state
        first_step_size = None if previous is None else previous.step_size
        packed = functools.partial(statement.pack, initial_state=initial_state)
        problem, pack = joined.join(problem, packed, self.settings)
        if dense:
            statement.check_dense(problem, self.settings, event_fn)
            asked = None if problem.every_step else problem.solution_times
            problem = problem.to_every_step()
        if event_fn is None:
            solution = self.solve_problem(problem, first_step_size)
            times = tf.stop_gradient(solution.times)
        else:
            event = lambda time, state: event_fn(time, pack(state))  # noqa: E731
            solution = events.solve(self, problem, event, first_step_size)
            times = solution.times
        diagnostics = solution.diagnostics
        internal = SolverInternalState(diagnostics.step_size)
        if not dense:
            return tfp.math.ode.Results(times, pack(solution.states), diagnostics, internal)
        interpolant = Interpolant(problem, self.settings, solution, pack)
        if asked is not None:
            solution = solution._replace(times=asked, states=interpolant.flat(asked))
        states = pack(solution.states)
        return DenseResults(solution.times, states, diagnostics, internal, interpolant)

    # Converting this package by AutoGraph would only make tracing slower.
    @tf.autograph.experimental.do_not_convert
    def solve_problem(self, problem: Problem, first_step_size: Any = None) -> Solution:
        """Solves a problem on flat lists.

        Args:
          problem: The problem.
          first_step_size: A number, a tensor, or None, for the solver's own setting.

        Returns:
          A `Solution`, whose states can be differentiated as the setting `gradient` says.

        Raises:
          ValueError: If the problem's times do not fit the solver.
          SolverError: If the solve fails, in eager mode; a graph raises InvalidArgumentError.
        """
        statement.check(problem, self.settings, self.name)
        problem = statement.with_direction(problem)
        if first_step_size is None:
            first_step_size = self.settings.first_step_size
        mode = _GRADIENTS[self.settings.gradient]
        with tf.name_scope(self.name):
            solve = mode(problem, self.settings, self.name, first_step_size)
            states = solve.states(*problem.tensors)
        diagnostics = Diagnostics(
            *(tf.stop_gradient(x) if x.dtype.is_floating else x for x in solve.solution.diagnostics)
        )
        return solve.solution._replace(states=list(states), diagnostics=diagnostics)

    def _solve(self, *args, **kwargs):
        """The forward solve alone, for TFP's own machinery."""
        return self.replace(gradient="backprop").solve(*args, **kwargs)

    def _initialize_solver_internal_state(self, ode_fn, initial_time, initial_state):
        """A state that asks for Hairer's first step, unless a first step size was given."""
        del ode_fn, initial_time
        dtype = tf.convert_to_tensor(tf.nest.flatten(initial_state)[0]).dtype.real_dtype
        given = self.settings.first_step_size
        return SolverInternalState(
            step_size=statement.as_times(-1.0 if given is None else given, dtype)
        )

    def _adjust_solver_internal_state_for_state_jump(
        self,
        ode_fn,
        initial_time,
        initial_state,
        previous_solver_internal_state,
        previous_state,
    ):
        """A jump of the state leaves the step size as good a guess as any."""
        del ode_fn, initial_time, initial_state, previous_state
        return previous_solver_internal_state


def _from_description(config: Mapping[str, Any]) -> tfp.math.ode.Solver:
    """The solver of `get_config`, or of what `saved.serialize` makes of another class."""
    if "class_name" not in config:
        return RungeKutta.from_config(config)
    base, classes = tfp.math.ode.Solver, saved.TFP_CLASSES
    return identifiers.find("adjoint_solver", config, base, {}, classes)


# What tools show of the constructor: the settings, which are declared there alone.
RungeKutta.__signature__ = inspect.signature(Settings)
