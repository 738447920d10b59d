# SPDX-License-Identifier: Apache-2.0
"""What following a path gives: the path, what it cost, and how it ended."""

import dataclasses
import enum

import tensorflow as tf

from homoode_tf.errors import UserError


class PathStatus(enum.IntEnum):
    """Why following a path ended; negative values are failures, as in `solvers.Status`."""

    SUCCESS = 0
    MAX_NUM_STEPS = -1
    NON_FINITE = -2
    STEP_UNDERFLOW = -3
    DIVERGED = -4
    SINGULAR_START = -5
    CLOSED = -6


_REMEDIES = {
    PathStatus.MAX_NUM_STEPS: "max_num_steps was used up before lambda = 1; raise max_num_steps or "
    "max_step_length, or try the other homotopy: the residual may have no zero",
    PathStatus.NON_FINITE: "the residual is not finite at the initial point; "
    "check residual for overflow and division by zero, or start elsewhere",
    PathStatus.STEP_UNDERFLOW: "steps down to min_step_length all failed; the residual may not be "
    "smooth or finite here, or its tolerances out of reach: loosen rtol and atol, use float64, "
    "start elsewhere, try the other homotopy, or jacobian='dense' if GMRES may not converge",
    PathStatus.DIVERGED: "the path went further from its start than max_distance; the residual may "
    "have no zero on this path: start elsewhere, try the other homotopy, or raise max_distance",
    PathStatus.SINGULAR_START: "the linear system for the first tangent could not be solved; "
    "start where the Jacobian of the residual is regular and finite, try homotopy='fixed_point', "
    "or jacobian='dense' if GMRES may not converge",
    PathStatus.CLOSED: "the path came back to its start without lambda = 1 on it; "
    "start elsewhere, or try the other homotopy",
}


class HomotopyError(UserError, ArithmeticError):
    """A path did not arrive; `path` is the part that was followed, with its status."""

    def __init__(self, message: str, path: "Path"):
        super().__init__(message)
        self.path = path

    @property
    def status(self) -> PathStatus:
        """Why following the path ended."""
        return self.path.status


class EagerOnlyError(UserError, RuntimeError):
    """`trace` was called in a graph."""


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """A path from (z0, 0), and what it cost.

    With b points, states of any shape and the dtype of the initial point:

    Attributes:
      state: The solution; after a failure the last point that was reached.
      states: The points' states, (b, ...), from z0 to `state`.
      lambdas: The points' parameters, (b,), from 0 to 1; they may fall on the way.
      arc_lengths: Lengths of the path up to the points, (b,), measured by
        ds^2 = mean(dz^2) + dlambda^2 and approximated by circular arcs.
      residual_norm: Root mean square of r at `state`.
      num_steps: Steps tried, rejected ones included.
      num_evaluations: Evaluations of r, alone or (jacobian="dense") with its Jacobian.
      num_jacobian_evaluations: Jacobian matrices computed; 0 if matrix-free.
      num_jacobian_products: Products of the Jacobian with a vector, each of which evaluates r once
        more than `num_evaluations` says; 0 if dense.
      status: How following it ended.
    """

    state: tf.Tensor
    states: tf.Tensor
    lambdas: tf.Tensor
    arc_lengths: tf.Tensor
    residual_norm: float
    num_steps: int
    num_evaluations: int
    num_jacobian_evaluations: int
    num_jacobian_products: int
    status: PathStatus

    @property
    def success(self) -> bool:
        """Whether the path arrived at lambda = 1 with r(z) = 0 to the tolerance."""
        return self.status is PathStatus.SUCCESS


def raise_on_failure(path: Path, name: str) -> None:
    """Raises a `HomotopyError` with a remedy if a path of the homotopy `name` did not arrive."""
    if path.success:
        return
    raise HomotopyError(
        f"{name} homotopy, {path.status.name}: {_REMEDIES[path.status]}. Reached lambda "
        f"{float(path.lambdas[-1]):.6g} after arc length {float(path.arc_lengths[-1]):.6g} and "
        f"{path.num_steps} steps, with residual {path.residual_norm:.3g}; "
        "on_failure='return' gives the path up to there instead.",
        path,
    )
