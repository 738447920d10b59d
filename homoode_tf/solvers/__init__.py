# SPDX-License-Identifier: Apache-2.0
"""Explicit Runge-Kutta solvers, by name.

Example:
```python
solver = solvers.get("tsit5", rtol=1e-5, atol=1e-5, gradient="checkpoint")
results = solver.solve(lambda t, z: -z, 0.0, tf.ones([3]), [1.0])
```
"""

from homoode_tf.solvers import tableaus
from homoode_tf.solvers.butcher import ButcherTableau
from homoode_tf.solvers.registry import get, names
from homoode_tf.solvers.runge_kutta import RungeKutta, SolverInternalState
from homoode_tf.solvers.status import Diagnostics, SolverError, Status

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
