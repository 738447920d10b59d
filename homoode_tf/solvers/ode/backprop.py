# SPDX-License-Identifier: Apache-2.0
"""Automatic differentiation of the loop itself: everything stored, any number of derivatives."""

from typing import Any

import tensorflow as tf

from homoode_tf.solvers import tracing
from homoode_tf.solvers.ode import failure
from homoode_tf.solvers.ode.flat import Tensors
from homoode_tf.solvers.ode.loop import Loop
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Solution
from homoode_tf.solvers.ode.settings import Settings


class Backprop:
    """One solve that TensorFlow differentiates; its attributes are those of `OwnGradient`."""

    def __init__(self, problem: Problem, settings: Settings, name: str, first_step_size: Any):
        self._problem = problem
        self._settings = settings
        self._name = name
        self._first_step_size = first_step_size
        self.solution: Solution | None = None

    def states(self, *tensors: tf.Tensor) -> Tensors:
        """Solves the problem with these `tensors`."""
        problem = self._problem.of(*tensors)
        loop = Loop(problem, self._settings, differentiated=True)
        self.solution = loop.run(self._first_step_size)
        name, on_failure = f"{self._name}, forward solve", self._settings.on_failure
        states = failure.check(self.solution.diagnostics, name, self.solution.states, on_failure)
        vectorized = tracing.is_vectorizing()
        if problem.on_backward is None and not vectorized:
            return states
        evaluations = self.solution.num_step_evaluations

        @tf.custom_gradient
        def reporting(*states):
            def grad(*cotangents):
                if vectorized:
                    raise tracing.TransformationError(
                        "tf.vectorized_map cannot vectorize the derivative of gradient='backprop'. "
                        "Use gradient='adjoint'."
                    )
                problem.report_backward(evaluations)
                return cotangents

            return [tf.identity(y) for y in states], grad

        return list(reporting(*states))
