# SPDX-License-Identifier: Apache-2.0
"""The solvers by name."""

from typing import Any

from homoode_tf.solvers import tableaus
from homoode_tf.solvers.runge_kutta import RungeKutta

_TABLEAUS = {
    tableau.name: tableau
    for tableau in (
        tableaus.EULER,
        tableaus.MIDPOINT,
        tableaus.HEUN,
        tableaus.RK4,
        tableaus.HEUN_EULER,
        tableaus.BOGACKI_SHAMPINE,
        tableaus.DORMAND_PRINCE,
        tableaus.TSITOURAS,
        tableaus.DORMAND_PRINCE_8,
    )
}


def names() -> tuple[str, ...]:
    """Names of the solvers, fixed-step ones first, each group by increasing order."""
    return tuple(_TABLEAUS)


def get(name: str, **options: Any) -> RungeKutta:
    """Makes a solver.

    Args:
      name: One of `names()`: euler (1), midpoint (2), heun (2), rk4 (4) take num_steps or step_size;
        heun_euler 2(1), bosh3 3(2), dopri5 5(4), tsit5 5(4), dop853 8(5,3) control their step.
      **options: Arguments of `RungeKutta`.

    Returns:
      The solver.

    Raises:
      ValueError: If the name is unknown, or an option has a value that is not allowed.
      TypeError: If an option is unknown.

    Example: `get("dopri5", rtol=1e-3, atol=1e-3, gradient="backprop")`, `get("rk4", num_steps=8)`.
    """
    if name not in _TABLEAUS:
        raise ValueError(f"Unknown solver {name!r}; known are {', '.join(names())}.")
    return RungeKutta(_TABLEAUS[name], **options)
