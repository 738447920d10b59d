# SPDX-License-Identifier: Apache-2.0
"""One call for every solver, ours or TFP's, that also counts the backward pass's evaluations."""

import copy
from collections.abc import Callable, Mapping

import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf.solvers.ode.runge_kutta import RungeKutta, SolverInternalState


def solve_counted(
    solver: tfp.math.ode.Solver,
    ode_fn: Callable[..., tf.Tensor],
    *,
    initial_state: tf.Tensor,
    final_time: float,
    constants: Mapping[str, tf.Tensor],
    on_backward: Callable[[tf.Tensor], object],
    first_step_size: tf.Tensor | None = None,
) -> tfp.math.ode.Results:
    """Solves from time 0 to `final_time` and reports the cost of the backward pass.

    Args:
        solver: A solver of this package or of TensorFlow Probability.
        ode_fn: F(t, z, **constants), returning dz/dt of z's shape and dtype.
        initial_state: z(0), of any shape.
        final_time: T, positive.
        constants: Tensors that gradients shall reach, passed to `ode_fn` by name.
        on_backward: Called within the backward pass with the number of evaluations of F that it
            made, a scalar int32 tensor.
        first_step_size: Step size to begin with, a scalar that is used where it is positive; for
            `RungeKutta` only.

    Returns:
        The solver's `Results`; `states[0]` is z(T).

    Raises:
        SolverError: If F becomes non-finite or the solver cannot reach T, with a solver of ours in
            eager mode; otherwise it is a `tf.errors.InvalidArgumentError`.
    """
    arguments = {
        "initial_time": 0.0,
        "initial_state": initial_state,
        "solution_times": [final_time],
        "constants": dict(constants),
    }
    if isinstance(solver, RungeKutta):
        if first_step_size is not None:
            arguments["previous_solver_internal_state"] = SolverInternalState(first_step_size)
        return solver.solve(ode_fn, on_backward=on_backward, **arguments)
    return _count_adjoint(solver, on_backward).solve(_require_finite(ode_fn), **arguments)


def _count_adjoint(solver, on_backward):
    """A copy of a TFP solver whose adjoint solver reports its evaluations."""
    make_adjoint_solver = solver._make_adjoint_solver_fn

    def make_counted_adjoint_solver():
        adjoint = copy.copy(make_adjoint_solver())
        solve = adjoint.solve

        def counted_solve(*args, **kwargs):
            results = solve(*args, **kwargs)
            # There is one solution time, so the adjoint solves once.
            on_backward(results.diagnostics.num_ode_fn_evaluations)
            return results

        adjoint.solve = counted_solve
        return adjoint

    counted = copy.copy(solver)
    counted._make_adjoint_solver_fn = make_counted_adjoint_solver
    return counted


def _require_finite(ode_fn):
    """Ends a solve that meets a non-finite derivative, on which TFP's solvers loop for ever."""

    def finite_ode_fn(time, state, **constants):
        derivative = ode_fn(time, state, **constants)
        check = tf.debugging.Assert(
            tf.reduce_all(tf.math.is_finite(derivative)),
            ["The dynamics returned a non-finite derivative at time", time],
        )
        with tf.control_dependencies([check] if check is not None else []):
            return tf.identity(derivative)

    return finite_ode_fn
