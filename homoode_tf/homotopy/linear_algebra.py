# SPDX-License-Identifier: Apache-2.0
"""The residual with its Jacobian, and the solution of bordered systems with it.

A bordered system, with J of shape (n, n), is

    [a J + b I   column] [x]
    [   row^T          ] [y] = right_side.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy.sparse import linalg

from homoode_tf.errors import InvalidTypeError, InvalidValueError

_ZERO = tf.UnconnectedGradients.ZERO

Residual = Callable[[tf.Tensor], tf.Tensor]
# solve((a, b), column, row, right_side, guess): numbers, (n,), (n + 1,), (n + 1,) and (n + 1,) or
# None to (n + 1,); raises `LinAlgError` where the system cannot be solved.
BorderedSolve = Callable[..., np.ndarray]


@dataclasses.dataclass
class Counts:
    """What was computed: r alone or with its Jacobian matrix, the matrix, J times a vector."""

    num_evaluations: int = 0
    num_jacobian_evaluations: int = 0
    num_jacobian_products: int = 0


class Jacobian(abc.ABC):
    """A residual r that is differentiated where it is evaluated; compiled once, when made.

    It leads from tensors of the shape and dtype of the initial point to others of these.
    """

    def __init__(self, residual: Residual, initial_point: tf.Tensor):
        self.counts = Counts()
        self.size = initial_point.shape.num_elements()
        self.dtype = initial_point.dtype
        self._residual = residual
        self._shape = initial_point.shape

    @abc.abstractmethod
    def evaluate(self, state: np.ndarray) -> tuple[np.ndarray, BorderedSolve]:
        """r(z), (n,), and the solution of bordered systems with J at z."""

    def _compile(self, function, num_arguments=1):
        signature = [tf.TensorSpec([self.size], self.dtype)] * num_arguments
        compiled = tf.function(function, autograph=False, input_signature=signature)
        return compiled.get_concrete_function()

    def _flat_residual(self, state):
        """The residual on flat vectors; what it returns is checked when it is compiled."""
        value = tf.convert_to_tensor(self._residual(tf.reshape(state, self._shape)))
        if value.dtype != self.dtype:
            raise InvalidTypeError(
                f"residual must return the dtype of initial_point, {self.dtype.name}, "
                f"got {value.dtype.name}."
            )
        if not value.shape.is_compatible_with(self._shape):
            raise InvalidValueError(
                f"residual must return the shape of initial_point, {self._shape}, "
                f"got {value.shape}."
            )
        return tf.reshape(value, [self.size])


class DenseJacobian(Jacobian):
    """J as a matrix, and LU factorisation: n^2 numbers and O(n^3) operations."""

    def __init__(self, residual: Residual, initial_point: tf.Tensor):
        super().__init__(residual, initial_point)
        self._evaluate = self._compile(self._with_matrix)

    def evaluate(self, state):
        value, matrix = (x.numpy() for x in self._evaluate(tf.constant(state)))
        self.counts.num_evaluations += 1
        self.counts.num_jacobian_evaluations += 1
        return value, functools.partial(_solve_dense, matrix)

    def _with_matrix(self, state):
        with tf.GradientTape() as tape:
            tape.watch(state)
            value = self._flat_residual(state)
        return value, tape.jacobian(value, state, unconnected_gradients=_ZERO)


class MatrixFreeJacobian(Jacobian):
    """J by its products with vectors, and GMRES: some tens of states in memory.

    There is no preconditioner: suited to r(z) = z - g(z) with a g whose Jacobian is not large, not
    to discretised differential operators.

    Reference: Knoll and Keyes (2004), doi:10.1016/j.jcp.2003.08.010.
    """

    def __init__(self, residual: Residual, initial_point: tf.Tensor):
        super().__init__(residual, initial_point)
        self._evaluate = self._compile(self._flat_residual)
        self._multiply = self._compile(self._product, num_arguments=2)

    def evaluate(self, state):
        point = tf.constant(state)
        value = self._evaluate(point).numpy()
        self.counts.num_evaluations += 1

        def multiply(direction):
            self.counts.num_jacobian_products += 1
            return self._multiply(point, tf.constant(direction, self.dtype)).numpy()

        return value, functools.partial(_solve_by_products, multiply)

    def _product(self, state, direction):
        with tf.autodiff.ForwardAccumulator(state, direction) as accumulator:
            value = self._flat_residual(state)
        return accumulator.jvp(value, unconnected_gradients=_ZERO)


def _solve_dense(matrix, weights, column, row, right_side, guess=None):
    del guess
    bordered = np.empty((len(row), len(row)), matrix.dtype)
    bordered[:-1, :-1] = weights[0] * matrix
    bordered[np.diag_indices(len(matrix))] += weights[1]
    bordered[:-1, -1] = column
    bordered[-1] = row
    return _finite(np.linalg.solve(bordered, right_side))


def _solve_by_products(multiply, weights, column, row, right_side, guess=None):
    def multiply_bordered(vector):
        direction = vector[:-1]
        top = weights[0] * multiply(direction) + weights[1] * direction + vector[-1] * column
        return np.append(top, row @ vector)

    shape, dtype = (len(row), len(row)), right_side.dtype
    operator = linalg.LinearOperator(shape, matvec=multiply_bordered, dtype=dtype)
    # Newton's corrections and tangents need not be more accurate; float32 could not be.
    limits = {"rtol": float(np.finfo(dtype).eps) ** (1 / 3), "restart": 40, "maxiter": 5}
    solution, failure = linalg.gmres(operator, right_side, guess, **limits)
    if failure:
        raise np.linalg.LinAlgError("GMRES has not converged")
    return _finite(solution)


def _finite(solution):
    if not np.isfinite(solution).all():
        raise np.linalg.LinAlgError("the solution is not finite")
    return solution
