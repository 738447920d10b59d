# SPDX-License-Identifier: Apache-2.0
"""Solvers of z = g(z), one equation a sample, and the gradients of what they find.

Example:
```python
solver = fixed_point.get("anderson", rtol=1e-5)
results = solver.solve(g, tf.zeros([8, 16]))
z = fixed_point.differentiate(g, results.state, adjoint_solver=solver)
```
"""

from homoode_tf.solvers.fixed_point.anderson import Anderson
from homoode_tf.solvers.fixed_point.broyden import Broyden
from homoode_tf.solvers.fixed_point.damped import Damped
from homoode_tf.solvers.fixed_point.gradients import (
    MODES,
    NUM_PHANTOM_STEPS,
    differentiate,
    jacobian_penalty,
)
from homoode_tf.solvers.fixed_point.iteration import FixedPointSolver
from homoode_tf.solvers.fixed_point.newton_krylov import NewtonKrylov
from homoode_tf.solvers.fixed_point.registry import deserialize, get, names, serialize
from homoode_tf.solvers.fixed_point.results import (
    FixedPointError,
    FixedPointResults,
    FixedPointStatus,
    FixedPointWarning,
)

__all__ = [
    "MODES",
    "NUM_PHANTOM_STEPS",
    "Anderson",
    "Broyden",
    "Damped",
    "FixedPointError",
    "FixedPointResults",
    "FixedPointSolver",
    "FixedPointStatus",
    "FixedPointWarning",
    "NewtonKrylov",
    "deserialize",
    "differentiate",
    "get",
    "jacobian_penalty",
    "names",
    "serialize",
]
