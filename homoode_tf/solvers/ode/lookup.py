# SPDX-License-Identifier: Apache-2.0
"""Solvers of initial value problems by name."""

import functools
from typing import Any

import tensorflow_probability as tfp

from homoode_tf import identifiers
from homoode_tf.solvers.ode import saved
from homoode_tf.solvers.ode.bdf import BDF, StiffSolver, has_own_gradient
from homoode_tf.solvers.ode.foreign import ForeignSolver
from homoode_tf.solvers.ode.runge_kutta import RungeKutta
from homoode_tf.solvers.ode.tableaus import BY_NAME


def names() -> tuple[str, ...]:
    """Names of the solvers: those of fixed steps, then the adaptive ones, each by their order.

    Example:
        >>> names()
        ('euler', 'midpoint', 'heun', 'rk4', 'heun_euler', 'bosh3', 'dopri5', 'tsit5', 'dop853')
    """
    return tuple(BY_NAME)


def get(name: Any, **options: Any) -> tfp.math.ode.Solver:
    """Returns a solver from its name, its saved description, or itself.

    Args:
      name: One of `names()`: euler (order 1), midpoint (2), heun (2) and rk4 (4) need
        num_steps or step_size; heun_euler 2(1), bosh3 3(2), dopri5 5(4), tsit5 5(4) and dop853
        8(5,3) control their steps unless one of these is given. Or "bdf", for stiff problems:
        `tfp.math.ode.BDF`, orders 1 to 5, with its settings and a gradient of our own; it solves
        with the Jacobian of the whole state. Or the name of a solver class registered with Keras,
        what `serialize` returns, or any `tfp.math.ode.Solver`.
      **options: Arguments of `RungeKutta` (or of the class), for a name.

    Returns:
      The solver.

    Raises:
      ValueError: If the name is unknown, or an option has a value that is not allowed.
      TypeError: If an option is unknown.

    Example:
        >>> get("rk4", num_steps=8)
        RungeKutta('rk4', num_steps=8)
    """
    by_name: dict[str, Any] = {each: functools.partial(RungeKutta, each) for each in BY_NAME}
    by_name["bdf"] = BDF
    classes = {"RungeKutta": RungeKutta, **saved.TFP_CLASSES}
    base = tfp.math.ode.Solver
    return identifiers.resolve("solver", name, base, by_name, options, classes)


def as_problem_solver(solver: tfp.math.ode.Solver) -> RungeKutta | StiffSolver | ForeignSolver:
    """What solves a `Problem` by a solver: itself, or an adapter."""
    if isinstance(solver, RungeKutta):
        return solver
    return StiffSolver(solver) if has_own_gradient(solver) else ForeignSolver(solver)
