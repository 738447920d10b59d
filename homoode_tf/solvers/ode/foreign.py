# SPDX-License-Identifier: Apache-2.0
"""Solvers that are not of this package, under the interface by which its layers solve."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Solution


class ForeignSolver:
    """Any `tfp.math.ode.Solver`, asked to solve a `Problem` on flat lists.

    Its adjoint's evaluations are counted, and a field that is not finite ends the solve, on which
    TFP's own solvers loop for ever.

    Args:
      solver: The solver.
    """

    def __init__(self, solver: tfp.math.ode.Solver):
        self.solver = solver

    def solve_problem(self, problem: Problem, first_step_size: Any = None) -> Solution:
        """Solves a problem; such solvers have a first step size of their own."""
        del first_step_size
        constants = {f"constant_{i}": c for i, c in enumerate(problem.constants)}

        def ode_fn(time, state, **constants):
            derivative = problem.bind(list(constants.values()))(time, [state])[0]
            return _require_finite(tf.cast(derivative, state.dtype), time)

        (state,) = problem.initial_state
        times = problem.solution_times
        if problem.every_step:
            times = tfp.math.ode.ChosenBySolver(times[-1])
        solver = self.solver
        # A solver with a `solve` of its own has a gradient of its own, which nobody counts here.
        if type(solver).solve is tfp.math.ode.Solver.solve:
            solver = _Counting(solver, problem)
        results = solver.solve(ode_fn, problem.initial_time, state, times, constants=constants)
        return Solution(results.times, [results.states], results.diagnostics)


class _Counting(tfp.math.ode.Solver):
    """A solver in front of another, whose adjoint reports its evaluations."""

    def __init__(self, solver: tfp.math.ode.Solver, problem: Problem, is_adjoint: bool = False):
        self._solver, self._problem, self._is_adjoint = solver, problem, is_adjoint
        super().__init__(
            make_adjoint_solver_fn=lambda: _Counting(
                solver._make_adjoint_solver_fn(), problem, is_adjoint=True
            ),
            validate_args=False,
            name=solver.name,
        )

    def solve(self, *args, **kwargs):
        if not self._is_adjoint:
            return super().solve(*args, **kwargs)
        # TFP's backward pass calls its adjoint solver once for each solution time.
        results = self._solver.solve(*args, **kwargs)
        self._problem.report_backward(results.diagnostics.num_ode_fn_evaluations)
        return results

    def _solve(self, *args, **kwargs):
        return self._solver._solve(*args, **kwargs)

    def _initialize_solver_internal_state(self, *args, **kwargs):
        return self._solver._initialize_solver_internal_state(*args, **kwargs)

    def _adjust_solver_internal_state_for_state_jump(self, *args, **kwargs):
        return self._solver._adjust_solver_internal_state_for_state_jump(*args, **kwargs)


def _require_finite(derivative: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    check = tf.debugging.Assert(
        tf.reduce_all(tf.math.is_finite(derivative)),
        ["The dynamics returned a non-finite derivative at time", time],
    )
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(derivative)
