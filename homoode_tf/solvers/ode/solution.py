# SPDX-License-Identifier: Apache-2.0
"""What to integrate, with what, and what comes of it."""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from homoode_tf.solvers.ode.status import Diagnostics
from homoode_tf.solvers.ode.step_control import PIController
from homoode_tf.solvers.ode.stepping import Field, Slope, Tensors
from homoode_tf.solvers.ode.tableau import ButcherTableau

# A solve's, unless the solver was given another limit.
MAX_NUM_STEPS = 100_000
# Arrays of more steps grow as they are filled.
LARGEST_FIXED_ARRAY = 1024


@dataclasses.dataclass(frozen=True)
class Method:
    """Everything that says how to step, and nothing about the problem."""

    tableau: ButcherTableau
    rtol: float
    atol: float
    norm: str
    controller: PIController
    max_num_steps: int
    num_steps: int | None = None
    step_size: float | None = None

    @property
    def fixed(self) -> bool:
        """Whether steps are of a given size, without control."""
        return self.num_steps is not None or self.step_size is not None

    @property
    def largest_number_of_steps(self) -> int:
        """Bound on the number of steps."""
        if self.num_steps is None:
            return self.max_num_steps
        return min(self.num_steps, self.max_num_steps)

    @property
    def records_fixed_arrays(self) -> bool:
        """Whether arrays for all steps are made at full size at once, as XLA needs it."""
        return self.largest_number_of_steps <= LARGEST_FIXED_ARRAY


@dataclasses.dataclass(frozen=True)
class Task:
    """What to integrate, on flat lists, and what to keep on the way.

    Attributes:
      field: The vector field.
      initial_time: Scalar.
      state: Initial state, a list of components.
      solution_times: Shape (n,), increasing.
      chosen_by_solver: Return the state after every step; `solution_times` then has one entry.
      record: Whether to record the accepted steps.
      differentiated: Whether automatic differentiation is to go through the loop itself.
      differentiable_times: Whether the lengths of the steps cut at solution times depend on these
        times in the eyes of automatic differentiation.
    """

    field: Field
    initial_time: tf.Tensor
    state: Tensors
    solution_times: tf.Tensor
    chosen_by_solver: bool = False
    record: bool = False
    differentiated: bool = False
    differentiable_times: bool = True


class Record(NamedTuple):
    """Arrays with what it takes to repeat every accepted step.

    With per-sample control every step tried is recorded, with length 0 where a sample stood still.
    """

    times: tf.TensorArray
    step_sizes: tf.TensorArray
    lasts: tf.TensorArray  # Whether the step was cut at its target time.
    indices: tf.TensorArray  # Number of solution times reached before the step.
    states: list[tf.TensorArray]


class Solution(NamedTuple):
    """The result of `integrate`, on flat lists."""

    times: tf.Tensor
    states: Tensors
    final_state: Tensors
    integral: Tensors
    end: Slope | None
    diagnostics: Diagnostics
    record: Record | None
    num_recorded: tf.Tensor
    num_reached: tf.Tensor
    num_step_evaluations: tf.Tensor
