# SPDX-License-Identifier: Apache-2.0
"""Explicit Runge-Kutta solvers, by name.

Example:
```python
solver = solvers.get("tsit5", rtol=1e-5, atol=1e-5, gradient="checkpoint")
results = solver.solve(lambda t, z: -z, 0.0, tf.ones([3]), [1.0])
```
"""

from homoode_tf.solvers.ode import tableaus
from homoode_tf.solvers.ode.registry import get, names
from homoode_tf.solvers.ode.runge_kutta import RungeKutta, SolverInternalState
from homoode_tf.solvers.ode.status import Diagnostics, SolverError, Status
from homoode_tf.solvers.ode.tableau import ButcherTableau

__all__ = [
    "ButcherTableau",
    "Diagnostics",
    "RungeKutta",
    "SolverError",
    "SolverInternalState",
    "Status",
    "get",
    "names",
    "tableaus",
]
