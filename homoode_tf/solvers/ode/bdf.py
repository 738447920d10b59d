# SPDX-License-Identifier: Apache-2.0
"""TFP's solver for stiff problems, with a gradient for them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.ode import statement
from homoode_tf.solvers.ode.implicit_adjoint import ImplicitAdjoint
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Solution


class BDF(tfp.math.ode.BDF):
    """`tfp.math.ode.BDF`, also backwards in time, with a gradient that is right where it is stiff.

    The gradient reaches the initial state, `constants`, variables, and the times if these are
    tensors. It costs one more solve, and for each of its steps some linear systems of three times
    the size of the state; see `ImplicitAdjoint`. With another solver for the adjoint, a Jacobian or
    a warm start given, TFP's own is taken.

    Args:
      **kwargs: Arguments of `tfp.math.ode.BDF`.

    Example:
        >>> import tensorflow as tf
        >>> y = BDF(rtol=1e-4).solve(lambda t, y: -1e4 * (y - 1.0), 0.0, tf.zeros([1]), [1.0])
        >>> y.states.numpy().round(3)
        array([[1.]], dtype=float32)
    """

    def solve(
        self,
        ode_fn: Callable[..., Any],
        initial_time: Any,
        initial_state: Any,
        solution_times: Any,
        constants: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> tfp.math.ode.Results:
        """Solves an initial value problem; the arguments are those of `tfp.math.ode.Solver.solve`.

        Raises:
          ValueError: If the times are not in order, or decrease where TFP's own solve is taken; or
            the state is not of one floating dtype, or in a graph not of a known shape.
          tf.errors.InvalidArgumentError: If a derivative is not finite, or max_num_steps is used.
        """
        _check_shapes(tf.nest.flatten(initial_state))
        arguments = ode_fn, initial_time, initial_state, solution_times
        if not has_own_gradient(self) or any(value is not None for value in options.values()):
            state = _going_forward(initial_state, initial_time, solution_times)
            arguments = ode_fn, initial_time, state, solution_times
            return super().solve(*arguments, constants=constants, **options)
        solution = _solve(self, statement.of(*arguments, constants))
        states = statement.pack(solution.states, initial_state)
        times = tf.stop_gradient(solution.times)
        return tfp.math.ode.Results(times, states, solution.diagnostics, solution.internal_state)


class StiffSolver:
    """A `tfp.math.ode.BDF` under the interface by which layers solve."""

    def __init__(self, solver: tfp.math.ode.BDF):
        self.solver = solver

    def solve_problem(self, problem: Problem, first_step_size: Any = None) -> Solution:
        """Solves a problem; the first step size is the solver's own."""
        del first_step_size
        _check_shapes(problem.initial_state)
        return _solve(self.solver, problem)


def has_own_gradient(solver: tfp.math.ode.Solver) -> bool:
    """Whether a solver is one for which there is a gradient here: BDF without another adjoint."""
    return isinstance(solver, tfp.math.ode.BDF) and solver._make_adjoint_solver_fn() is solver


def _check_shapes(state: Sequence[Any]) -> None:
    shapes = [tf.convert_to_tensor(y).shape for y in state]
    unknown = [shape for shape in shapes if not shape.is_fully_defined()]
    if unknown:
        raise InvalidValueError(
            "bdf, which solves with the Jacobian of the whole state, needs one of a known shape in "
            f"a graph, got {unknown[0]}. Give the input a batch size (data sets: "
            "batch(..., drop_remainder=True)), or take an explicit solver."
        )


def _going_forward(state: Any, start: Any, times: Any) -> Any:
    """The state, unless time is to run backwards: TFP's solve would hand it back as it is."""
    if isinstance(times, tfp.math.ode.ChosenBySolver):
        times = times.final_time
    start, end = (statement.as_times(x, tf.float64) for x in (start, times))
    backward = tf.reduce_any(tf.reshape(end, [-1])[-1:] < start)
    message = (
        "bdf with another adjoint solver, a Jacobian, batch_ndims or a warm start solves forward "
        "in time only: give increasing times, or leave these out."
    )
    if (known := tf.get_static_value(backward)) is not None:
        if known:
            raise InvalidValueError(message)
        return state
    with tf.control_dependencies([tf.debugging.Assert(~backward, [message])]):
        return tf.nest.map_structure(tf.identity, state)


def _solve(solver: tfp.math.ode.BDF, problem: Problem) -> Solution:
    statement.check_times(problem)
    problem = statement.with_direction(problem)
    solve = ImplicitAdjoint(problem, solver, solver.name)
    states, found = solve.states(*problem.tensors), solve.solution
    rest = (found.times, found.diagnostics, found.internal_state)
    times, diagnostics, internal = tf.nest.map_structure(tf.stop_gradient, rest)
    return Solution(times, list(states), diagnostics, internal_state=internal)
