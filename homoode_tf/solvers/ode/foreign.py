# SPDX-License-Identifier: Apache-2.0
"""Solvers that are not of this package, under the interface by which its layers solve."""

import dataclasses
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.flat import Tensors, as_vector
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Solution


class ForeignSolver:
    """Any `tfp.math.ode.Solver`, asked to solve a `Problem` on flat lists.

    Its adjoint's evaluations are counted, a field that is not finite ends the solve, on which TFP's
    own solvers loop for ever, and a solve that does not arrive is an error.

    Args:
      solver: The solver.
    """

    def __init__(self, solver: tfp.math.ode.Solver):
        self.solver = solver

    def solve_problem(self, problem: Problem, first_step_size: Any = None) -> Solution:
        """Solves a problem; such solvers have a first step size of their own."""
        del first_step_size
        constants = {f"constant_{i}": c for i, c in enumerate(problem.constants)}

        # Not all such solvers know several components.
        state, single = problem.initial_state, len(problem.initial_state) == 1
        join, split = (lambda y: y[0], lambda y: [y]) if single else as_vector(state)

        # Nor do they know time that runs backwards: it counts from the start.
        clock = Clock.of(problem)
        constants["start"] = clock.start

        def ode_fn(elapsed, state, start, **constants):
            time = dataclasses.replace(clock, start=start).time_anywhere(elapsed)
            slopes = problem.bind(list(constants.values()))(time, split(state))
            return require_finite(clock.signed(tf.cast(join(slopes), state.dtype)), time)

        times = tfp.math.ode.ChosenBySolver(clock.span) if problem.every_step else clock.targets
        solver = self.solver
        # A solver with a `solve` of its own has a gradient of its own, which nobody counts here.
        if type(solver).solve is tfp.math.ode.Solver.solve:
            solver = _Counting(solver, problem)
        results = solver.solve(
            ode_fn=ode_fn,
            initial_time=tf.zeros_like(clock.span),
            initial_state=join(state),
            solution_times=times,
            constants=constants,
        )
        (states,) = require_success(results.diagnostics, solver.name, [results.states])
        reached = clock.start + clock.signed(results.times)
        return Solution(reached, split(states), results.diagnostics)

    def solve_to_end(self, problem: Problem) -> tuple[Tensors, Tensors, tf.Tensor]:
        """Solves a problem of any components and integrals, whichever way time runs.

        Such solvers know one direction of time, and not all of them several components: so time
        counts from the start, and state and integrals are one vector.

        Returns:
          The final state, the integrals there, and the number of evaluations.
        """
        clock, like = Clock.of(problem), [*problem.initial_state, *problem.integrals]
        integrated = problem.integrands or problem.field
        join, split = as_vector(like)

        def ode_fn(elapsed, vector):
            state = split(vector)[: len(problem.initial_state)]
            return require_finite(
                clock.signed(join(integrated(clock.time_anywhere(elapsed), state))), elapsed
            )

        start, name = tf.zeros_like(clock.span), self.solver.name
        # By name and with a state to begin with, as TFP does it: solvers may rely on that.
        asked = {"ode_fn": ode_fn, "initial_time": start, "initial_state": join(like)}
        results = self.solver.solve(
            **asked,
            solution_times=clock.span[tf.newaxis],
            previous_solver_internal_state=self.solver._initialize_solver_internal_state(**asked),
        )
        (end,) = require_success(results.diagnostics, name, [results.states[0]])
        ends, number = split(end), len(problem.initial_state)
        evaluations = tf.cast(results.diagnostics.num_ode_fn_evaluations, tf.int32)
        return ends[:number], ends[number:], evaluations


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


def require_finite(derivative: tf.Tensor, time: tf.Tensor) -> tf.Tensor:
    """The derivative, or an error; TFP's solvers would loop for ever."""
    check = tf.debugging.Assert(
        tf.reduce_all(tf.math.is_finite(derivative)),
        ["The dynamics returned a non-finite derivative at time", time],
    )
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(derivative)


def require_success(diagnostics: tfp.math.ode.Diagnostics, name: str, xs: Tensors) -> Tensors:
    """What a solve returns, or an error."""
    check = tf.debugging.Assert(
        diagnostics.status >= 0,
        [f"{name} did not reach the final time: raise its max_num_steps or loosen its tolerances."],
    )
    with tf.control_dependencies([check] if check is not None else []):
        return [tf.identity(x) for x in xs]
