# SPDX-License-Identifier: Apache-2.0
"""Solvers of z = g(z), one equation a sample, and the gradients of what they find.

Example:
    >>> from homoode_tf.solvers import fixed_point
    >>> solver = fixed_point.get("anderson", rtol=1e-5)
    >>> results = solver.solve(tf.cos, tf.zeros([2, 3]))
    >>> z = fixed_point.differentiate(tf.cos, results.state, adjoint_solver=solver)
    >>> bool(tf.reduce_all(tf.abs(z - 0.739085) < 1e-4))
    True
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
from homoode_tf.solvers.fixed_point.registry import get, names, serialize
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
    "differentiate",
    "get",
    "jacobian_penalty",
    "names",
    "serialize",
]
