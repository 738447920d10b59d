# SPDX-License-Identifier: Apache-2.0
"""The continuous adjoint: constant memory, and as exact as its own tolerance."""

import tensorflow as tf

from homoode_tf.solvers.ode.integrate import integrate
from homoode_tf.solvers.ode.problem import Sources, assemble, dot, rows, vector_jacobian
from homoode_tf.solvers.ode.solution import Task


def adjoint_gradient(problem, solution, arguments, cotangents, variables):
    """Solves the adjoint equation backwards, from solution time to solution time.

    With a(t) = dL/dz(t): a' = -a dF/dz, and the gradients by constants and variables are the
    integrals of a dF/dp. Nothing depends on these, so they are summed with the weights of the step
    and left out of the error norm. The cotangents are scaled to size one: the adjoint equation is
    linear, and the absolute tolerance shall not depend on the scale of the loss.

    Reference: Chen et al. (2018), arXiv:1806.07366; Kidger et al. (2021), arXiv:2009.09457.
    """
    initial_time, state, _, constants = arguments
    sources = Sources(constants, variables)
    num_state = len(state)
    samples = problem.method.norm == "sample"

    def broadcast(time):
        return tf.broadcast_to(time, tf.shape(state[0])[:1]) if samples else time

    def field(negative_time, augmented, quadrature):
        y, adjoint = augmented[:num_state], augmented[num_state:]
        parameters = sources.tensors if quadrature else []
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([*y, *parameters])
            slope = problem.vector_field(broadcast(-negative_time), y, constants)
        products = vector_jacobian(tape, slope, [*y, *parameters], adjoint)
        return [*[-k for k in slope], *products[:num_state]], products[num_state:]

    def evaluate(time, y):
        return problem.vector_field(broadcast(time), y, constants)

    squares = [tf.reduce_mean(tf.square(c)) for c in cotangents]
    size = tf.sqrt(tf.add_n(squares) / len(squares))
    size = tf.where((size > 0.0) & tf.math.is_finite(size), size, tf.ones_like(size))
    cotangents = [c / size for c in cotangents]

    times = solution.times
    # The forward solve's last step size fits the backward solve if it has the same tolerance.
    ours, theirs = problem.adjoint_method, problem.method
    same = (ours.tableau, ours.rtol, ours.atol) == (theirs.tableau, theirs.rtol, theirs.atol)
    step_size = tf.reduce_min(solution.diagnostics.step_size) if same else -tf.ones_like(size)

    def segment(index, start, adjoint, gradients, step_size, evaluations, by_times):
        """From solution time `index` back to `start`."""
        y, cotangent = rows(solution.states, index), rows(cotangents, index)
        time = tf.gather(times, index)
        adjoint = [a + c for a, c in zip(adjoint, cotangent, strict=True)]
        if problem.differentiable_times:
            slope = dot(cotangent, evaluate(time, y))
            by_times += tf.one_hot(index, tf.size(times), slope, tf.zeros_like(slope))
            evaluations += 1
        back = integrate(
            problem.adjoint_method,
            Task(
                field,
                -time,
                [*y, *adjoint],
                tf.reshape(-start, [1]),
                differentiable_times=False,
            ),
            first_step_size=step_size,
            integral=gradients,
        )
        adjoint = back.final_state[num_state:]
        return (
            problem.check(back.diagnostics, "adjoint solve", adjoint),
            back.integral,
            back.diagnostics.step_size,
            evaluations + back.diagnostics.num_ode_fn_evaluations,
            by_times,
        )

    carry = (
        [tf.zeros_like(y) for y in state],
        sources.zeros(),
        step_size,
        tf.constant(0),
        tf.zeros_like(times),
    )
    if times.shape[0] == 1:
        carry = segment(tf.constant(0), initial_time, *carry)
    else:
        starts = tf.concat([initial_time[tf.newaxis], times[:-1]], 0)
        _, carry = tf.while_loop(
            lambda index, _: index >= 0,
            lambda index, c: (index - 1, segment(index, tf.gather(starts, index), *c)),
            (tf.size(times) - 1, carry),
            parallel_iterations=1,
            maximum_iterations=times.shape[0],
        )
    adjoint, gradients, _, evaluations, by_times = carry
    by_time = tf.zeros_like(initial_time)
    if problem.differentiable_times:
        by_time = -size * dot(adjoint, evaluate(initial_time, state))
        by_times *= size
        evaluations += 1
    problem.report(evaluations)
    if problem.chosen_by_solver:
        by_times = by_times[-1:]
    return assemble(
        by_time,
        by_times,
        [size * a for a in adjoint],
        [tf.cast(size, g.dtype) * g for g in gradients],
        sources,
        variables,
    )
