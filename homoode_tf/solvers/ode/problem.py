# SPDX-License-Identifier: Apache-2.0
"""An initial value problem on flat lists, and what the backward passes have in common."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from homoode_tf.solvers.ode.integrate import integrate
from homoode_tf.solvers.ode.solution import Method, Solution, Task
from homoode_tf.solvers.ode.status import Diagnostics
from homoode_tf.solvers.ode.stepping import Tensors


@dataclasses.dataclass(frozen=True)
class Problem:
    """An initial value problem on flat lists, and how to solve it."""

    vector_field: Callable[[tf.Tensor, Tensors, Tensors], Tensors]  # (time, state, constants)
    method: Method
    adjoint_method: Method
    chosen_by_solver: bool
    first_step_size: tf.Tensor | None
    differentiable_times: bool
    on_backward: Callable[[tf.Tensor], None] | None
    check: Callable[[Diagnostics, str, Tensors], Tensors]  # what a solve returns, if all is well

    def forward(self, initial_time, state, solution_times, constants, **keep: bool) -> Solution:
        """Solves the problem; `keep` are the fields `record` and `differentiated` of a `Task`."""
        task = Task(
            field=lambda t, y, quadrature: (self.vector_field(t, y, constants), []),
            initial_time=initial_time,
            state=state,
            solution_times=solution_times,
            chosen_by_solver=self.chosen_by_solver,
            differentiable_times=self.differentiable_times,
            **keep,
        )
        solution = integrate(self.method, task, first_step_size=self.first_step_size)
        states = self.check(solution.diagnostics, "forward solve", solution.states)
        return solution._replace(states=states)

    def report(self, evaluations: tf.Tensor) -> None:
        """Tells how many evaluations a backward pass made."""
        if self.on_backward is not None:
            self.on_backward(tf.cast(evaluations, tf.int32))


class Sources:
    """The tensors and variables that a backward pass differentiates by, the state apart."""

    def __init__(self, constants: Tensors, variables):
        self.differentiable = [c.dtype.is_floating for c in constants]
        floating = [c for c, ok in zip(constants, self.differentiable, strict=True) if ok]
        self.num_constants = len(floating)
        self.tensors = [*floating, *variables]

    def zeros(self) -> Tensors:
        return [tf.zeros_like(x) for x in self.tensors]

    def split(self, gradients: Tensors):
        """Gradients by all constants (None where there is none), and by the variables."""
        by_constants = iter(gradients[: self.num_constants])
        return (
            [next(by_constants) if ok else None for ok in self.differentiable],
            list(gradients[self.num_constants :]),
        )


def vector_jacobian(tape, targets, sources, cotangents) -> Tensors:
    """Vector-Jacobian products by each source, zeros where nothing depends on it."""
    gradients = tape.gradient(
        targets,
        sources,
        output_gradients=cotangents,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [tf.convert_to_tensor(g) for g in gradients]


def dot(xs: Tensors, ys: Tensors) -> tf.Tensor:
    """Inner product over all components."""
    return tf.add_n([tf.reduce_sum(x * y) for x, y in zip(xs, ys, strict=True)])


def rows(tensors: Tensors, index: tf.Tensor) -> Tensors:
    """Entry `index` of every component."""
    return [tf.gather(x, index) for x in tensors]


def assemble(by_time, by_times, by_state, gradients, sources, variables):
    """Gradients in the form that `tf.custom_gradient` wants."""
    by_constants, by_variables = sources.split(gradients)
    result = (by_time, by_times, *by_state, *by_constants)
    return (result, by_variables) if variables else result
