# SPDX-License-Identifier: Apache-2.0
"""Newton's method with its linear systems solved by GMRES."""

from typing import Any

import keras
import tensorflow as tf

from homoode_tf.checks import check_integer, check_number
from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.fixed_point.gmres import gmres
from homoode_tf.solvers.fixed_point.iteration import FixedPointSolver


@keras.saving.register_keras_serializable(package="homoode_tf")
class NewtonKrylov(FixedPointSolver):
    """z <- z - (dg/dz - I)^-1 (g(z) - z), by Jacobian-vector products alone.

    Converges where g does not contract, and quadratically near the solution if the linear systems
    are solved tightly. An iteration costs one evaluation and up to `krylov_dimension` products
    (forward-mode derivatives, each with an evaluation of its own); it stores `krylov_dimension`
    states. Without a line search: from afar use a homotopy (`homoode_tf.homotopy`).

    Args:
      krylov_dimension: Largest dimension of GMRES's space.
      krylov_rtol: How far each linear residual is reduced, below 1.
      **options: Arguments of `FixedPointSolver`.

    Example:
      >>> NewtonKrylov(rtol=1e-6).solve(tf.cos, tf.zeros([1, 1])).state.numpy()
      array([[0.73908...]], dtype=float32)

    Reference: Knoll and Keyes (2004), doi:10.1016/j.jcp.2003.08.010.
    """

    def __init__(self, krylov_dimension: int = 20, krylov_rtol: float = 1e-2, **options: Any):
        super().__init__(**options)
        check_integer("krylov_dimension", krylov_dimension, at_least=1)
        check_number("krylov_rtol", krylov_rtol, above=0)
        if krylov_rtol >= 1.0:
            raise InvalidValueError(f"krylov_rtol must be below 1, got {krylov_rtol!r}.")
        self.krylov_dimension = int(krylov_dimension)
        self.krylov_rtol = float(krylov_rtol)

    def begin(self, state):
        return ()

    def step(self, fn, iterate, memory):
        state = iterate.state

        def apply(vector):
            with tf.autodiff.ForwardAccumulator(state, vector) as accumulator:
                image = fn(state)
            product = accumulator.jvp(image, tf.UnconnectedGradients.ZERO)
            return product - vector

        dimension = self.krylov_dimension
        if state.shape[1] is not None:
            dimension = min(dimension, state.shape[1])
        change, products = gmres(apply, -iterate.residual, self.krylov_rtol, dimension)
        return state + change, memory, products
