# SPDX-License-Identifier: Apache-2.0
"""The three ways to differentiate a solve: adjoint, checkpoint and backprop."""

import tensorflow as tf

from homoode_tf.solvers.ode.adjoint import adjoint_gradient
from homoode_tf.solvers.ode.checkpoint import checkpoint_gradient
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.solution import Solution
from homoode_tf.solvers.ode.stepping import Tensors

BACKWARD_PASSES = {"adjoint": adjoint_gradient, "checkpoint": checkpoint_gradient}
MODES = (*BACKWARD_PASSES, "backprop")


def solve(
    mode: str,
    problem: Problem,
    initial_time: tf.Tensor,
    state: Tensors,
    solution_times: tf.Tensor,
    constants: Tensors,
) -> Solution:
    """Solves a problem so that it can be differentiated as `mode` says.

    Args:
      mode: One of `MODES`.
      problem: What to solve.
      initial_time: Scalar.
      state: Initial state.
      solution_times: Shape (n,).
      constants: Flat list of constants.

    Returns:
      A `Solution` whose `states` carry gradients; everything else has none.
    """
    if mode == "backprop":
        return _backprop(problem, initial_time, state, solution_times, constants)
    backward_pass = BACKWARD_PASSES[mode]
    solutions = []
    num_state = len(state)

    @tf.custom_gradient
    def differentiable(initial_time, solution_times, *tensors):
        state, constants = list(tensors[:num_state]), list(tensors[num_state:])
        solution = problem.forward(
            initial_time, state, solution_times, constants, record=mode == "checkpoint"
        )
        solutions.append(solution)

        def grad(*cotangents, variables=()):
            complex_dtypes = [x.dtype.name for x in state if x.dtype.is_complex]
            if complex_dtypes:
                raise NotImplementedError(
                    f"gradient={mode!r} needs a real state, got dtype {complex_dtypes[0]}."
                )
            arguments = (initial_time, state, solution_times, constants)
            recorded = solution
            if mode == "checkpoint" and _traced_for_export():
                # The record is of a type that cannot be saved: solve again to get another.
                recorded = problem.forward(*arguments, record=True)
            result = backward_pass(problem, recorded, arguments, list(cotangents), variables)
            return first_order_only(mode, result)

        return list(solution.states), grad

    states = differentiable(initial_time, solution_times, *state, *constants)
    return solutions[0]._replace(states=list(states))


def _backprop(problem, initial_time, state, solution_times, constants) -> Solution:
    """Leaves it to TensorFlow to differentiate the loop."""
    solution = problem.forward(initial_time, state, solution_times, constants, differentiated=True)
    if problem.on_backward is None:
        return solution

    @tf.custom_gradient
    def reporting(*states):
        def grad(*cotangents):
            problem.report(solution.num_step_evaluations)
            return cotangents

        return [tf.identity(y) for y in states], grad

    return solution._replace(states=list(reporting(*solution.states)))


def first_order_only(mode, gradients):
    """Lets the gradients through, and refuses to differentiate them once more."""

    @tf.custom_gradient
    def identity(*tensors):
        def grad(*_):
            raise NotImplementedError(
                f"gradient={mode!r} has no second derivatives; use gradient='backprop'."
            )

        return [tf.identity(x) for x in tensors], grad

    flat = tf.nest.flatten(gradients)
    guarded = iter(identity(*[g for g in flat if g is not None]))
    return tf.nest.pack_sequence_as(gradients, [g if g is None else next(guarded) for g in flat])


def _traced_for_export() -> bool:
    """Whether `tf.saved_model.save` is tracing the gradient, as a function of its own.

    It gives the function that TensorFlow makes of a custom gradient's name to its graph.
    """
    graph = tf.compat.v1.get_default_graph()
    return not tf.executing_eagerly() and getattr(graph, "name", "") == "internal_grad_fn"
