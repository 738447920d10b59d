# SPDX-License-Identifier: Apache-2.0
"""A solve whose gradient is a backward pass of this package: what adjoint and checkpoint share."""

import abc
from typing import Any

import tensorflow as tf

from homoode_tf.errors import UserError
from homoode_tf.solvers import tracing
from homoode_tf.solvers.first_order import first_order_only
from homoode_tf.solvers.ode import failure
from homoode_tf.solvers.ode.flat import Tensors, wide_dtype
from homoode_tf.solvers.ode.loop import Loop
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Record, Solution
from homoode_tf.solvers.ode.settings import TO_COMPILE

_IN_LOOPS = "Give its value in `constants`, or take gradient='backprop'."


class OwnGradient(abc.ABC):
    """One solve that can be differentiated by `backward`.

    Args:
      problem: What to solve.
      settings: How: `Settings`, or what `loop` needs.
      name: The solver's, for messages.
      first_step_size: As of `Loop.run`.

    Attributes:
      solution: The `Solution`, after `states` was called.
      states: A function of the problem's `tensors` that solves it and returns the states at the
        solution times, with gradients to all these tensors and to variables.
    """

    # Whether the backward pass needs a record of the steps.
    records = False
    # What to do where second derivatives are refused.
    advice = "use gradient='backprop'"

    def __init__(self, problem: Problem, settings: Any, name: str, first_step_size: Any = None):
        self._statement = problem
        self._settings = settings
        self._name = name
        self._first_step_size = first_step_size
        self.solution: Solution | None = None
        self.states = tf.custom_gradient(self._forward)

    @property
    def mode(self) -> str:
        """Its name in messages."""
        return self._settings.gradient

    def loop(self, problem: Problem) -> Any:
        """What solves forwards by its `run(first_step_size)`."""
        return Loop(problem, self._settings, record=self.records)

    @abc.abstractmethod
    def backward(
        self, problem: Problem, solution: Solution, cotangents: Tensors, sources: "Sources"
    ) -> "Gradients":
        """Gradients from dL/d(states at the solution times)."""

    def check(self, diagnostics, part: str, tensors: Tensors, advice: str = "") -> Tensors:
        """What a part of the solve returns, unless it failed."""
        name, on_failure = f"{self._name}, {part}", self._settings.on_failure
        return failure.check(diagnostics, name, tensors, on_failure, advice)

    def _forward(self, *tensors):
        if self.records and tracing.is_vectorizing():
            raise tracing.TransformationError(
                f"gradient={self.mode!r} records its steps, which tf.vectorized_map "
                "cannot vectorize. Use gradient='adjoint', or solve the whole batch with "
                "step_control='sample'."
            )
        problem = self._statement.of(*tensors)
        solved_eagerly = tf.executing_eagerly()
        solution = self.loop(problem).run(self._first_step_size)
        states = self.check(solution.diagnostics, "forward solve", solution.states)
        forward_solution = self.solution = solution._replace(states=states)

        def grad(*cotangents, variables=()):
            complex_dtypes = [x.dtype.name for x in problem.initial_state if x.dtype.is_complex]
            if complex_dtypes:
                raise ComplexStateError(
                    f"gradient={self.mode!r} needs a real state, got dtype {complex_dtypes[0]}."
                )
            if self.records and tracing.is_compiled() and not self._settings.stores_fixed_arrays:
                raise tracing.TransformationError(f"gradient={self.mode!r}: {TO_COMPILE}.")
            local = problem.of(*tracing.local(problem.tensors))
            recorded = forward_solution
            if self.records and tracing.is_exporting_gradient():
                # The record is of a type that cannot be saved: solve again to get another.
                recorded = Loop(problem, self._settings, record=True).run(self._first_step_size)
            elif self.records and solved_eagerly and not tf.executing_eagerly():
                # As when an eager tape computes a Jacobian.
                recorded = recorded._replace(record=_for_graph(recorded.record))
            sources = Sources(local.constants, variables)
            with tracing.refuse_captures_in_loops(_IN_LOOPS):
                found = self.backward(local, recorded, list(cotangents), sources)
            by_constants, by_variables = sources.split(found.by_sources)
            result = (found.by_time, found.by_times, *found.by_state, *by_constants)
            result = (result, by_variables) if variables else result
            return first_order_only(self.mode, result, problem.advice or self.advice)

        return list(states), grad


class ComplexStateError(UserError, NotImplementedError):
    """A backward pass was asked for a complex state."""


class Gradients:
    """What a backward pass has found: by t0, the solution times, the state and the sources."""

    def __init__(self, by_time, by_times, by_state: Tensors, by_sources: Tensors):
        self.by_time = by_time
        self.by_times = by_times
        self.by_state = by_state
        self.by_sources = by_sources


class Sources:
    """The tensors and variables that a backward pass differentiates by, the state apart."""

    def __init__(self, constants: Tensors, variables):
        self._differentiable = [c.dtype.is_floating or c.dtype.is_complex for c in constants]
        floating = [c for c, ok in zip(constants, self._differentiable, strict=True) if ok]
        self._num_constants = len(floating)
        self.variables = list(variables)
        self.tensors = [*floating, *variables]

    def zeros(self) -> Tensors:
        """A gradient of zero by each of them, to which others are added."""
        return [tf.zeros_like(x, wide_dtype(x.dtype)) for x in self.tensors]

    def split(self, gradients: Tensors) -> tuple[list[tf.Tensor | None], Tensors]:
        """Gradients by all constants (None where there is none), and by the variables."""
        gradients = [tf.cast(g, x.dtype) for g, x in zip(gradients, self.tensors, strict=True)]
        by_constants = iter(gradients[: self._num_constants])
        return (
            [next(by_constants) if ok else None for ok in self._differentiable],
            gradients[self._num_constants :],
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


def _for_graph(record: Record) -> Record:
    """A record that was made eagerly, to be read in a graph."""
    with tf.init_scope():
        stacked = tf.nest.map_structure(lambda array: array.stack(), record)
    arrays = lambda x: tf.TensorArray(x.dtype, len(x), clear_after_read=False).unstack(x)  # noqa: E731
    return tf.nest.map_structure(arrays, stacked)
