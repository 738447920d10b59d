# SPDX-License-Identifier: Apache-2.0
"""Explicit Runge-Kutta solvers, by name; fixed-point solvers are in `solvers.fixed_point`.

Example:
    >>> import tensorflow as tf
    >>> solver = get("tsit5", rtol=1e-5, atol=1e-5, gradient="checkpoint")
    >>> results = solver.solve(lambda t, z: -z, 0.0, tf.ones([3]), [1.0])
    >>> results.states.shape
    TensorShape([1, 3])
"""

from homoode_tf.solvers.ode import tableaus
from homoode_tf.solvers.ode.lookup import get, names
from homoode_tf.solvers.ode.results import Diagnostics, SolverError, SolverInternalState, Status
from homoode_tf.solvers.ode.runge_kutta import RungeKutta
from homoode_tf.solvers.ode.saved import serialize
from homoode_tf.solvers.ode.settings import GRADIENTS, STEP_CONTROLS, Settings
from homoode_tf.solvers.ode.tableau import ButcherTableau

__all__ = [
    "GRADIENTS",
    "STEP_CONTROLS",
    "ButcherTableau",
    "Diagnostics",
    "RungeKutta",
    "Settings",
    "SolverError",
    "SolverInternalState",
    "Status",
    "get",
    "names",
    "serialize",
    "tableaus",
]
