# SPDX-License-Identifier: Apache-2.0
"""The continuous adjoint: constant memory, and as exact as its own tolerance."""

import dataclasses
import operator

import tensorflow as tf

from homoode_tf.solvers.ode.error_control import WorstSampleErrorControl
from homoode_tf.solvers.ode.flat import Tensors, add, align, dot, expand, gather, wide_dtype
from homoode_tf.solvers.ode.foreign import ForeignSolver
from homoode_tf.solvers.ode.loop import Loop
from homoode_tf.solvers.ode.own_gradient import Gradients, OwnGradient, vector_jacobian
from homoode_tf.solvers.ode.problem import Field, Problem
from homoode_tf.solvers.ode.results import Solution, Status

_ADVICE = "gradient='checkpoint' differentiates the steps that were taken, and solves nothing anew"


class Adjoint(OwnGradient):
    """Solves the adjoint equation backwards, from solution time to solution time.

    With a(t) = dL/dz(t): a' = -a dF/dz, and the gradients by constants and variables are the
    integrals of a dF/dp. Nothing depends on these, so they are summed with the weights of the step
    and left out of the error norm. The cotangents are scaled to size one, sample by sample where
    the error is judged so: the adjoint equation is linear, and the absolute tolerance shall not
    depend on the scale of the loss, nor a sample's gradient on that of its mates.

    Reference: Chen et al. (2018), arXiv:1806.07366; Kidger et al. (2021), arXiv:2009.09457.
    """

    def backward(self, problem, solution, cotangents, sources):
        by_sample = self._settings.control.by_sample
        # The leading axis is that of the times.
        axes = [[0, *range(2, c.shape.rank)] if by_sample else None for c in cotangents]
        squares = [tf.reduce_mean(tf.square(c), a) for c, a in zip(cotangents, axes, strict=True)]
        given = tf.sqrt(tf.add_n(squares) / len(squares))
        size = tf.where((given > 0.0) & tf.math.is_finite(given), given, tf.ones_like(given))
        failed = self._failed(solution)
        initial_time, state, times = problem.initial_time, problem.initial_state, solution.times
        field = self._field(problem, size, [])
        integrands = self._field(problem, size, sources.tensors)

        def segment(index, start, adjoint, integrals, step_size, evaluations, by_times):
            """From solution time `index` back to `start`."""
            y, cotangent = gather(solution.states, index), gather(cotangents, index)
            time = tf.gather(times, index)
            adjoint = add(adjoint, [c / expand(size, c) for c in cotangent])
            if problem.differentiable_times:
                slope = dot(cotangent, problem.field(self._times_of(time, state), y))
                by_times += tf.one_hot(index, tf.size(times), slope, tf.zeros_like(slope))
                evaluations += 1
            backwards = Problem(
                bind=lambda _: field,
                constants=[],
                initial_time=time,
                initial_state=[*y, *adjoint],
                solution_times=tf.reshape(start, [1]),
                integrands=integrands,
                integrals=integrals,
                pace=problem.pace,
                direction=problem.direction and -problem.direction,
            )
            end, integrals, step_size, cost = self._solve_back(backwards, step_size, failed)
            return end[len(state) :], integrals, step_size, evaluations + cost, by_times

        carry = (
            [tf.zeros_like(y) for y in state],
            sources.zeros(),
            self._first_step_back(solution),
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
        if failed is not None:
            # Of these nothing is known: no gradient, unless none is asked for.
            unknown = tf.where(tf.equal(given, 0.0), given, float("nan"))
            adjoint = [tf.where(align(failed, a), expand(unknown, a), a) for a in carry[0]]
            carry = (adjoint, *carry[1:])
        return self._scaled(problem, size, *carry)

    def _failed(self, solution: Solution) -> tf.Tensor | None:
        """Which samples did not arrive, where the others may go on without them."""
        if not self._settings.control.by_sample or self._settings.on_failure != "return":
            return None
        return tf.not_equal(solution.diagnostics.status, int(Status.SUCCESS))

    def _solve_back(self, backwards: Problem, step_size: tf.Tensor, failed: tf.Tensor | None):
        """State and integrals at the end, the next step size, and the number of evaluations."""
        settings = self._settings.adjoint
        if settings is None:
            solver = ForeignSolver(self._settings.adjoint_solver)
            end, integrals, evaluations = solver.solve_to_end(backwards)
            return end, integrals, step_size, evaluations
        control = settings.control
        if isinstance(control, WorstSampleErrorControl):
            control = dataclasses.replace(control, ignored=failed)
        back = Loop(backwards, settings, control=control).run(step_size)
        found = back.diagnostics
        end = self.check(found, "adjoint solve", list(back.final_state), _ADVICE)
        return end, back.integrals, found.step_size, found.num_ode_fn_evaluations

    def _scaled(self, problem, size, adjoint, integrals, _, evaluations, by_times) -> Gradients:
        """The gradients of the loss from those of the loss of size one."""
        by_time, state = tf.zeros_like(problem.initial_time), problem.initial_state
        if problem.differentiable_times:
            slope = problem.field(self._times_of(problem.initial_time, state), state)
            by_time = -dot(_times(size, adjoint), slope)
            evaluations += 1
        problem.report_backward(evaluations)
        return Gradients(
            by_time,
            by_times[-1:] if problem.every_step else by_times,
            _times(size, adjoint),
            integrals if size.shape.rank else [tf.cast(size, g.dtype) * g for g in integrals],
        )

    def _times_of(self, time: tf.Tensor, state: Tensors) -> tf.Tensor:
        """The time, in the shape in which the forward solve gives it to the field."""
        return tf.broadcast_to(time, self._settings.control.time_shape(state))

    def _field(self, problem: Problem, size: tf.Tensor, parameters: Tensors) -> Field:
        """The field of [z, a], with -a dF/dp for each parameter after it.

        Parameters belong to all samples: where each has its own size, theirs is of full size.
        """
        num_state = len(problem.initial_state)

        def field(time, augmented):
            y, adjoint = augmented[:num_state], augmented[num_state:]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([*y, *parameters])
                slope = problem.field(self._times_of(time, y), y)
            by_sample = size.shape.rank
            cotangents = _times(size, adjoint) if by_sample else adjoint
            products = vector_jacobian(tape, slope, [*y, *parameters], cotangents)
            if by_sample:
                products[:num_state] = [p / expand(size, p) for p in products[:num_state]]
            return [*slope, *[-tf.cast(p, wide_dtype(p.dtype)) for p in products]]

        return field

    def _first_step_back(self, solution: Solution) -> tf.Tensor:
        """The forward solve's last step size fits a backward solve of the same tolerance."""
        ours, theirs = self._settings.adjoint, self._settings
        chosen = operator.attrgetter("tableau", "rtol", "atol")
        same = ours is not None and chosen(ours) == chosen(theirs)
        last = tf.reduce_min(solution.diagnostics.step_size)
        return last if same else -tf.ones_like(last)


def _times(size: tf.Tensor, tensors: Tensors) -> Tensors:
    return [expand(size, x) * x for x in tensors]
