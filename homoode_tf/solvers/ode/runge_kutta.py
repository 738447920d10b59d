# SPDX-License-Identifier: Apache-2.0
"""Explicit Runge-Kutta solvers under the interface of TensorFlow Probability."""

import collections
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import checks
from homoode_tf.solvers.ode import gradients, problem, status, validation
from homoode_tf.solvers.ode.solution import MAX_NUM_STEPS, Method
from homoode_tf.solvers.ode.step_control import PIController
from homoode_tf.solvers.ode.tableau import ButcherTableau
from homoode_tf.solvers.ode.tableaus import BY_NAME

STEP_CONTROLS = ("batch", "sample")
ON_FAILURE = ("raise", "return")
_LOW_PRECISION = (tf.float16, tf.bfloat16)


class SolverInternalState(collections.namedtuple("SolverInternalState", ["step_size"])):
    """What a later solve can start from.

    Attributes:
      step_size: Step size to begin with, not cut by the end of the interval.
    """

    __slots__ = ()


class RungeKutta(tfp.math.ode.Solver):
    """An explicit Runge-Kutta method, with or without step size control.

    Solves z'(t) = F(t, z(t)), z(t0) = z0. A step is accepted if the root mean square of
    error / (atol + rtol max(|z_n|, |z_n+1|)) over the whole state is at most one. The last step
    ends exactly at the final time. Not for stiff problems: use `tfp.math.ode.BDF` there.

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
      rtol: Relative tolerance (adaptive stepping).
      atol: Absolute tolerance (adaptive stepping).
      first_step_size: First step size: a number, tensor or variable; None or a value that is not
        positive asks for Hairer's choice, which costs one evaluation more.
      num_steps: Take this many equal steps, without control.
      step_size: Take steps of this size, without control.
      max_num_steps: Largest number of steps tried, rejected ones included.
      gradient: One of "adjoint", "checkpoint", "backprop".
      step_control: "batch" (one step for all) or "sample".
      on_failure: "raise" an error, or "return" the last state; `diagnostics.status` tells why.
        Compiled by XLA nothing can raise: the states, or the gradients, are NaN there instead.
      adjoint_rtol: Relative tolerance of the adjoint equation; None means rtol.
      adjoint_atol: Absolute tolerance of the adjoint equation, whose solution is scaled to size
        one; None means atol.
      adjoint_solver: Another `RungeKutta` (or its config) for the adjoint equation.
      safety_factor: Factor by which a step size stays below the largest expected to be accepted.
      min_step_size_factor: Least change of the step size from one step to the next.
      max_step_size_factor: Largest change.
      validate_args: Whether to check times that are tensors when the graph runs.
      name: Name in messages and graphs; None takes the tableau's.

    Raises:
      ValueError: If an argument has a value that is not allowed.
      TypeError: If `tableau` or `adjoint_solver` is of the wrong type.

    Example:
    ```python
    solver = RungeKutta(tableaus.TSITOURAS, rtol=1e-6, atol=1e-6, gradient="checkpoint")
    results = solver.solve(lambda t, z, a: a * z, 0.0, tf.ones([3]), [1.0], constants={"a": a})
    results.states[-1]  # exp(a)
    ```

    Reference: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, chapter II.
    """

    def __init__(
        self,
        tableau: ButcherTableau | str,
        *,
        rtol: float = 1e-3,
        atol: float = 1e-6,
        first_step_size: Any = None,
        num_steps: int | None = None,
        step_size: float | None = None,
        max_num_steps: int = MAX_NUM_STEPS,
        gradient: str = "adjoint",
        step_control: str = "batch",
        on_failure: str = "raise",
        adjoint_rtol: float | None = None,
        adjoint_atol: float | None = None,
        adjoint_solver: "RungeKutta | Mapping[str, Any] | None" = None,
        safety_factor: float = 0.9,
        min_step_size_factor: float = 0.2,
        max_step_size_factor: float = 10.0,
        validate_args: bool = False,
        name: str | None = None,
    ):
        if isinstance(tableau, str):
            checks.check_choice("tableau", tableau, BY_NAME)
            tableau = BY_NAME[tableau]
        if not isinstance(tableau, ButcherTableau):
            raise TypeError(f"tableau must be a ButcherTableau or a name, got {tableau!r}.")
        if isinstance(adjoint_solver, Mapping):
            adjoint_solver = RungeKutta(**adjoint_solver)
        if adjoint_solver is not None and not isinstance(adjoint_solver, RungeKutta):
            raise TypeError(f"adjoint_solver must be a RungeKutta solver, got {adjoint_solver!r}.")
        checks.check_choice("gradient", gradient, gradients.MODES)
        checks.check_choice("step_control", step_control, STEP_CONTROLS)
        checks.check_choice("on_failure", on_failure, ON_FAILURE)
        for key, value in {"rtol": rtol, "atol": atol, "step_size": step_size}.items():
            checks.check_positive(key, value, numbers.Real, optional=key == "step_size")
        for key, value in {"adjoint_rtol": adjoint_rtol, "adjoint_atol": adjoint_atol}.items():
            checks.check_positive(key, value, numbers.Real, optional=True)
        checks.check_positive("num_steps", num_steps, numbers.Integral, optional=True)
        checks.check_positive("max_num_steps", max_num_steps, numbers.Integral)
        if isinstance(first_step_size, numbers.Real):
            checks.check_positive("first_step_size", first_step_size, numbers.Real)
        fixed = num_steps is not None or step_size is not None
        if num_steps is not None and step_size is not None:
            raise ValueError("num_steps and step_size exclude each other; give one of them.")
        if not (fixed or tableau.adaptive):
            raise ValueError(
                f"{tableau.name} does not estimate its error: give num_steps or step_size."
            )
        if fixed and step_control == "sample":
            raise ValueError(
                "step_control must be 'batch' with num_steps or step_size, got 'sample'."
            )
        if fixed and first_step_size is not None:
            raise ValueError("first_step_size has no meaning beside num_steps or step_size.")
        super().__init__(
            make_adjoint_solver_fn=lambda: adjoint_solver or self,
            validate_args=validate_args,
            name=name or tableau.name,
        )
        controller = PIController(
            tableau.error_order, safety_factor, min_step_size_factor, max_step_size_factor
        )
        self._method = Method(
            tableau=tableau,
            rtol=float(rtol),
            atol=float(atol),
            norm="sample" if step_control == "sample" else "batch",
            controller=controller,
            max_num_steps=int(max_num_steps),
            num_steps=num_steps,
            step_size=step_size,
        )
        self._adjoint_method = _adjoint_method(
            adjoint_solver._method if adjoint_solver else self._method, adjoint_rtol, adjoint_atol
        )
        self._first_step_size = first_step_size
        self._gradient = gradient
        self._on_failure = on_failure
        self._config = {
            "tableau": tableau,
            "rtol": rtol,
            "atol": atol,
            "first_step_size": first_step_size,
            "num_steps": num_steps,
            "step_size": step_size,
            "max_num_steps": max_num_steps,
            "gradient": gradient,
            "step_control": step_control,
            "on_failure": on_failure,
            "adjoint_rtol": adjoint_rtol,
            "adjoint_atol": adjoint_atol,
            "adjoint_solver": adjoint_solver,
            "safety_factor": safety_factor,
            "min_step_size_factor": min_step_size_factor,
            "max_step_size_factor": max_step_size_factor,
            "validate_args": validate_args,
            "name": name,
        }

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this solver again, as plain values.

        Raises:
          ValueError: If the tableau has no name here, or the first step size is a tensor.
        """
        config = dict(self._config)
        if BY_NAME.get(self.tableau.name) is not self.tableau:
            raise ValueError(f"Only tableaus with a name can be saved, got {self.tableau.name!r}.")
        size = config["first_step_size"]
        if size is not None and not isinstance(size, numbers.Real):
            raise ValueError(f"first_step_size must be a number to be saved, got {size!r}.")
        config["tableau"] = self.tableau.name
        if config["adjoint_solver"] is not None:
            config["adjoint_solver"] = config["adjoint_solver"].get_config()
        return config

    def replace(self, **changes: Any) -> "RungeKutta":
        """Returns a solver like this one but for some of the constructor's arguments.

        Args:
          **changes: Arguments of the constructor.

        Raises:
          ValueError: If a value is not allowed.
          TypeError: If there is no such argument.

        Example: `solver.replace(step_control="sample")`
        """
        return RungeKutta(**{**self._config, **changes})

    @property
    def tableau(self) -> ButcherTableau:
        """The coefficients of the method."""
        return self._method.tableau

    @property
    def adaptive(self) -> bool:
        """Whether step sizes are controlled."""
        return not self._method.fixed

    @property
    def gradient_compiles(self) -> bool:
        """Whether XLA can compile the backward pass: it must know a bound on stored steps."""
        return self._gradient == "adjoint" or self._method.records_fixed_arrays

    # Converting this package by AutoGraph would only make tracing slower.
    @tf.autograph.experimental.do_not_convert
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
    ) -> tfp.math.ode.Results:
        """Solves an initial value problem; see `tfp.math.ode.Solver.solve`.

        Args:
          ode_fn: `ode_fn(t, z, **constants)`, of the structure and shapes of z. t is a scalar, with
            step_control="sample" a tensor of shape (batch,).
          initial_time: Scalar.
          initial_state: Nested structure of tensors of one dtype.
          solution_times: Increasing times, shape (n,), or `tfp.math.ode.ChosenBySolver`.
          jacobian_fn: Of no use to explicit methods.
          jacobian_sparsity: Of no use to explicit methods.
          batch_ndims: None; 0 with step_control="batch", 1 with "sample" say the same.
          previous_solver_internal_state: `SolverInternalState` with the first step size; a step
            size that is not positive asks for Hairer's choice.
          constants: Named (nested) tensors, passed to `ode_fn` and differentiated by.
          on_backward: Called within the backward pass with its number of evaluations of `ode_fn`,
            an int32 scalar; one evaluation with its vector-Jacobian product counts once.

        Returns:
          `tfp.math.ode.Results` with `times` (n,), `states` (n, ...) in the structure of the
          initial state, `diagnostics` (see `status.Diagnostics`) and `solver_internal_state`.

        Raises:
          ValueError: If the arguments do not fit each other.
          SolverError: If the solve fails, in eager mode; a graph raises InvalidArgumentError.
        """
        del jacobian_fn, jacobian_sparsity
        return self._run(
            self._gradient,
            ode_fn,
            initial_time,
            initial_state,
            solution_times,
            batch_ndims,
            previous_solver_internal_state,
            dict(constants or {}),
            on_backward,
        )

    def _solve(
        self,
        ode_fn,
        initial_time,
        initial_state,
        solution_times,
        jacobian_fn=None,
        jacobian_sparsity=None,
        batch_ndims=None,
        previous_solver_internal_state=None,
    ):
        """The forward solve alone, for TFP's own machinery."""
        del jacobian_fn, jacobian_sparsity
        return self._run(
            "backprop",
            ode_fn,
            initial_time,
            initial_state,
            solution_times,
            batch_ndims,
            previous_solver_internal_state,
            {},
            None,
        )

    def _initialize_solver_internal_state(self, ode_fn, initial_time, initial_state):
        """A state that asks for Hairer's first step, unless a first step size was given."""
        del ode_fn, initial_time
        dtype = tf.convert_to_tensor(tf.nest.flatten(initial_state)[0]).dtype.real_dtype
        given = -1.0 if self._first_step_size is None else self._first_step_size
        return SolverInternalState(step_size=_to_times(given, dtype))

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

    def _run(
        self,
        gradient,
        ode_fn,
        initial_time,
        initial_state,
        solution_times,
        batch_ndims,
        previous_state,
        constants,
        on_backward,
    ):
        """Flattens the problem, solves it, and packs the results."""
        self._check_batch_ndims(batch_ndims)
        initial_state = tf.nest.map_structure(tf.convert_to_tensor, initial_state)
        state_dtypes = [y.dtype for y in tf.nest.flatten(initial_state)]
        state = [
            tf.cast(y, tf.float32) if y.dtype in _LOW_PRECISION else y
            for y in tf.nest.flatten(initial_state)
        ]
        time_dtype = validation.check_state(state, self._method.norm)
        chosen = isinstance(solution_times, tfp.math.ode.ChosenBySolver)
        times = [solution_times.final_time] if chosen else solution_times
        differentiable = any(tf.is_tensor(t) for t in tf.nest.flatten((initial_time, times)))
        times = _to_times(times, time_dtype)
        initial_time = _to_times(initial_time, time_dtype)
        self._check_times(initial_time, times, chosen)
        constants = tf.nest.map_structure(tf.convert_to_tensor, constants)

        def vector_field(time, flat_state, flat_constants):
            nested = tf.nest.pack_sequence_as(
                initial_state,
                [tf.cast(y, d) for y, d in zip(flat_state, state_dtypes, strict=True)],
            )
            derivative = ode_fn(time, nested, **tf.nest.pack_sequence_as(constants, flat_constants))
            return validation.check_derivative(derivative, initial_state, flat_state)

        if previous_state is None:
            first_step_size = self._first_step_size
        else:
            first_step_size = previous_state.step_size

        def check(diagnostics, part, tensors):
            if self._on_failure == "return":
                return tensors
            status.raise_on_failure(diagnostics, f"{self.name}, {part}")
            return status.nan_on_failure(diagnostics, tensors)

        with tf.name_scope(self.name):
            solution = gradients.solve(
                gradient,
                problem.Problem(
                    vector_field=vector_field,
                    method=self._method,
                    adjoint_method=self._adjoint_method,
                    chosen_by_solver=chosen,
                    first_step_size=first_step_size,
                    differentiable_times=differentiable,
                    on_backward=on_backward,
                    check=check,
                ),
                initial_time,
                state,
                times,
                tf.nest.flatten(constants),
            )
            states = [tf.cast(y, d) for y, d in zip(solution.states, state_dtypes, strict=True)]
        diagnostics = solution.diagnostics
        return tfp.math.ode.Results(
            times=tf.stop_gradient(solution.times),
            states=tf.nest.pack_sequence_as(initial_state, states),
            diagnostics=status.Diagnostics(
                *(tf.stop_gradient(x) if x.dtype.is_floating else x for x in diagnostics)
            ),
            solver_internal_state=SolverInternalState(tf.stop_gradient(diagnostics.step_size)),
        )

    def _check_batch_ndims(self, batch_ndims):
        allowed = 1 if self._method.norm == "sample" else 0
        if batch_ndims is not None and batch_ndims != allowed:
            raise ValueError(
                f"batch_ndims must be None or {allowed} with this solver's step_control, got "
                f"{batch_ndims}; step_control='sample' makes one leading dimension a batch."
            )

    def _check_times(self, initial_time, times, chosen):
        """Times known now are checked now; others when the graph runs, if asked for."""
        if times.shape.rank != 1:
            raise ValueError(f"solution_times must have rank 1, got shape {times.shape}.")
        if chosen and self._method.norm == "sample":
            raise ValueError(
                "ChosenBySolver needs one time for all: use step_control='batch', got 'sample'."
            )
        if self._method.num_steps and times.shape[0] != 1 and not self.tableau.dense:
            raise ValueError(
                f"{self.name} with num_steps gives the final time only; use step_size for more."
            )
        known = [tf.get_static_value(x) for x in (initial_time, times)]
        if all(x is not None for x in known):
            start, values = known
            if not (values.size and values[0] >= start and (values[1:] > values[:-1]).all()):
                raise ValueError(
                    "solution_times must increase and not lie before initial_time, got "
                    f"{values.tolist()} with initial_time {float(start)}."
                )
        elif self._validate_args:
            ordered = tf.reduce_all(times[1:] > times[:-1]) & (times[0] >= initial_time)
            tf.debugging.Assert(
                ordered,
                ["solution_times must increase and not lie before initial_time, got", times],
            )


def _adjoint_method(method: Method, rtol: float | None, atol: float | None) -> Method:
    """The adjoint equation takes one step for all samples, the one that suits the worst."""
    return Method(
        tableau=method.tableau,
        rtol=method.rtol if rtol is None else float(rtol),
        atol=method.atol if atol is None else float(atol),
        norm="worst" if method.norm == "sample" else "batch",
        controller=method.controller,
        max_num_steps=method.max_num_steps,
        num_steps=method.num_steps,
        step_size=method.step_size,
    )


def _to_times(times: Any, dtype: tf.DType) -> tf.Tensor:
    """Times as a tensor; Python numbers must not pass through float32 on their way to float64."""
    if tf.is_tensor(times):
        return tf.cast(times, dtype)
    if isinstance(times, (list, tuple)) and any(tf.is_tensor(t) for t in times):
        return tf.stack([_to_times(t, dtype) for t in times])
    return tf.convert_to_tensor(times, dtype)
