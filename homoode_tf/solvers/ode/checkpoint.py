# SPDX-License-Identifier: Apache-2.0
"""The exact derivative of the steps taken, with one state stored a step."""

import tensorflow as tf

from homoode_tf.solvers.ode.problem import Problem, Sources, assemble, dot, rows, vector_jacobian
from homoode_tf.solvers.ode.solution import Solution
from homoode_tf.solvers.ode.step_control import expand
from homoode_tf.solvers.ode.stepping import Tensors, dense_weights, take_step


def checkpoint_gradient(
    problem: Problem, solution: Solution, arguments, cotangents: Tensors, variables
):
    """Repeats the accepted steps from the last to the first, and differentiates each.

    Step sizes count as constants, but for those of the steps cut at a solution time: these have
    length (solution time - start of the step), and that is how the gradients by the times arise.

    Args:
      problem: What was solved.
      solution: Its solution, with the record of the steps.
      arguments: (initial_time, state, solution_times, constants).
      cotangents: dL/d(states at the solution times).
      variables: Variables that the vector field uses.

    Returns:
      Gradients in the form that `tf.custom_gradient` wants.
    """
    return _Checkpoint(problem, solution, arguments, cotangents, variables).run()


class _Checkpoint:
    """One backward pass."""

    def __init__(self, problem, solution, arguments, cotangents, variables):
        self.problem = problem
        self.method = problem.method
        self.solution = solution
        self.initial_time, self.state, self.solution_times, self.constants = arguments
        self.cotangents = cotangents
        self.variables = variables
        self.sources = Sources(self.constants, variables)
        self.chosen = problem.chosen_by_solver
        self.single = self.solution_times.shape[0] == 1 and not self.chosen
        self.samples = self.method.norm == "sample"
        self.several = not (self.single or self.chosen)
        self.dense = self.several and self.method.tableau.dense and not self.samples
        self.timed = problem.differentiable_times

    def run(self):
        """The reverse loop over the steps."""
        adjoint = self._final_adjoint()
        time = self.initial_time
        if self.samples:
            time = tf.broadcast_to(time, tf.shape(self.state[0])[:1])
        carry = (
            adjoint,
            tf.zeros_like(time),
            tf.zeros_like(self.initial_time),
            tf.zeros_like(self.solution_times),
            self.sources.zeros(),
            self.solution.num_reached,
        )
        _, carry = tf.while_loop(
            lambda n, _: n >= 0,
            lambda n, c: (n - 1, self._reverse_step(n, *c)),
            (self.solution.num_recorded - 1, carry),
            parallel_iterations=1,
            maximum_iterations=self.method.max_num_steps,
        )
        adjoint, by_time_of_step, by_time, by_times, gradients, _ = carry
        if self.chosen:
            adjoint = _add(adjoint, rows(self.cotangents, tf.constant(0)))
        tableau = self.method.tableau
        evaluations = tableau.num_stages - tableau.fsal + self.dense
        self.problem.report(self.solution.num_recorded * evaluations)
        return assemble(
            by_time + tf.reduce_sum(by_time_of_step),
            by_times,
            adjoint,
            gradients,
            self.sources,
            self.variables,
        )

    def _final_adjoint(self) -> Tensors:
        """The cotangent of the final state: of all solution times written after the last step."""
        if self.single:
            return rows(self.cotangents, tf.constant(0))
        zeros = [tf.zeros_like(y) for y in self.state]
        if self.chosen:
            return zeros
        return self._add_outputs(zeros, self.solution.num_reached, tf.size(self.solution_times))

    def _add_outputs(self, adjoint: Tensors, start, stop) -> Tensors:
        """Adds the cotangents of the solution times start <= index < stop."""
        _, adjoint = tf.while_loop(
            lambda index, _: index < stop,
            lambda index, a: (index + 1, _add(a, rows(self.cotangents, index))),
            (start, adjoint),
            parallel_iterations=1,
            maximum_iterations=self.solution_times.shape[0],
        )
        return adjoint

    def _reverse_step(self, n, adjoint, by_end_time, by_time, by_times, gradients, reached):
        """From the end of step n to its start."""
        record = self.solution.record
        time, step_size = record.times.read(n), record.step_sizes.read(n)
        last, index = record.lasts.read(n), record.indices.read(n)
        state = [array.read(n) for array in record.states]
        if self.chosen:
            adjoint = _add(adjoint, rows(self.cotangents, n + 1))
        elif self.several and not self.dense:
            adjoint = self._add_outputs(adjoint, index, reached)
        times = [time, step_size] if self.timed else []
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([*state, *self.sources.tensors, *times])
            step = take_step(
                self.method.tableau,
                lambda t, y, _: (self.problem.vector_field(t, y, self.constants), []),
                time,
                step_size,
                state,
                None,
                estimate=False,
                close=self.dense,
            )
        targets, cotangents = list(step.state), list(adjoint)
        inner = None
        if self.dense:
            inner = self._inner_outputs(time, step_size, state, step.stages, index, reached)
            for stage, cotangent in zip(step.stages, inner["stages"], strict=True):
                targets += stage
                cotangents += cotangent
        sources = [*state, *self.sources.tensors, *times]
        found = vector_jacobian(tape, targets, sources, cotangents)
        count = len(state)
        adjoint, found = found[:count], found[count:]
        gradients = _add(gradients, found[: len(gradients)])
        if self.dense:
            adjoint = _add(adjoint, inner["state"])
        if self.timed:
            by_start, by_length = found[-2:]
            if self.dense:
                by_times += inner["times"]
                by_start += inner["start"]
                by_length += inner["length"]
            by_end_time, by_time, by_times = self._time_gradients(
                n, last, index, by_start, by_length, by_end_time, by_time, by_times
            )
        return adjoint, by_end_time, by_time, by_times, gradients, index

    def _inner_outputs(self, time, step_size, state, stages, index, reached):
        """Cotangents that the solution times inside a step give to its start, slopes and length.

        The solution at such a time is state + sum_j W_j k_j, with weights W_j that depend on the
        time asked for, the start and the length of the step.
        """

        def body(i, carry):
            cotangent, target = rows(self.cotangents, i), tf.gather(self.solution_times, i)
            times = [target, time, step_size]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(times)
                weights = dense_weights(self.method.tableau, time, step_size, target)
                used = [w for w in weights if w is not None]
            carry = dict(carry)
            carry["state"] = _add(carry["state"], cotangent)
            carry["stages"] = [
                old if w is None else _add(old, [expand(w, c) * c for c in cotangent])
                for w, old in zip(weights, carry["stages"], strict=True)
            ]
            if self.timed:
                products = [
                    dot(cotangent, stage)
                    for w, stage in zip(weights, stages, strict=True)
                    if w is not None
                ]
                by_target, by_start, by_length = vector_jacobian(tape, used, times, products)
                carry["times"] += tf.one_hot(
                    i, tf.size(self.solution_times), by_target, tf.zeros_like(by_target)
                )
                carry["start"] += by_start
                carry["length"] += by_length
            return i + 1, carry

        zeros = [tf.zeros_like(y) for y in state]
        _, carry = tf.while_loop(
            lambda i, _: i < reached,
            body,
            (
                index,
                {
                    "state": zeros,
                    "stages": [list(zeros) for _ in stages],
                    "times": tf.zeros_like(self.solution_times),
                    "start": tf.zeros_like(time),
                    "length": tf.zeros_like(time),
                },
            ),
            parallel_iterations=1,
            maximum_iterations=self.solution_times.shape[0],
        )
        return carry

    def _time_gradients(self, n, last, index, by_start, by_length, by_end_time, by_time, by_times):
        """Passes the gradients by a step's start and length on to the times that they depend on."""
        if self.method.num_steps is not None:
            count = self.method.num_steps
            done = tf.cast(n, by_start.dtype) / count
            by_final = by_length / count + by_start * done
            by_time += by_start * (1.0 - done) - by_length / count
            return by_end_time, by_time, by_times + _one_hot_last(by_times, by_final)
        cut = tf.where(last, by_end_time + by_length, tf.zeros_like(by_length))
        position = tf.size(by_times) - 1 if self.dense or not self.several else index
        total = tf.reduce_sum(cut)
        by_times += tf.one_hot(position, tf.size(by_times), total, tf.zeros_like(total))
        return by_start + tf.where(last, -by_length, by_end_time), by_time, by_times


def _one_hot_last(vector, value):
    return tf.one_hot(tf.size(vector) - 1, tf.size(vector), value, tf.zeros_like(value))


def _add(xs: Tensors, ys: Tensors) -> Tensors:
    return [x + y for x, y in zip(xs, ys, strict=True)]
