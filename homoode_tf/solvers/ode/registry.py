# SPDX-License-Identifier: Apache-2.0
"""The solvers by name."""

from typing import Any

from homoode_tf.solvers.ode.runge_kutta import RungeKutta
from homoode_tf.solvers.ode.tableaus import BY_NAME


def names() -> tuple[str, ...]:
    """Names of the solvers: those of fixed steps, then the adaptive ones, each by their order."""
    return tuple(BY_NAME)


def get(name: str, **options: Any) -> RungeKutta:
    """Makes a solver.

    Args:
      name: One of `names()`. euler (order 1), midpoint (2), heun (2) and rk4 (4) need num_steps or
        step_size; heun_euler 2(1), bosh3 3(2), dopri5 5(4), tsit5 5(4) and dop853 8(5,3) control
        their steps unless one of these is given.
      **options: Arguments of `RungeKutta`.

    Returns:
      The solver.

    Raises:
      ValueError: If the name is unknown, or an option has a value that is not allowed.
      TypeError: If an option is unknown.

    Example: `get("dopri5", rtol=1e-3, atol=1e-3, gradient="backprop")`, `get("rk4", num_steps=8)`.
    """
    if name not in BY_NAME:
        raise ValueError(f"Unknown solver {name!r}; known are {', '.join(names())}.")
    return RungeKutta(BY_NAME[name], **options)
