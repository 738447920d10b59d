# SPDX-License-Identifier: Apache-2.0
"""The gradient of a stiff solve: that of an implicit method on the steps that the solver took."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow.python.eager import record

from homoode_tf.solvers.first_order import SecondDerivativeError
from homoode_tf.solvers.ode import radau
from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.flat import Tensors, add, as_vector, dot, wide_dtype
from homoode_tf.solvers.ode.foreign import require_finite, require_success
from homoode_tf.solvers.ode.own_gradient import (
    Gradients,
    OwnGradient,
    Sources,
    vector_jacobian,
)
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Solution

# Steps are halved so often on the way to a solution time, where the adjoint may change faster than
# the solution does.
_NUM_HALVINGS = 20
_NEWTON_FACTOR = 1e-3


class ImplicitAdjoint(OwnGradient):
    """Solves forward by BDF; backwards differentiates Radau IIA steps between BDF's times.

    An adjoint that integrates the state backwards, as explicit methods may, is of no use where the
    solution contracts fast: backwards it explodes. So BDF solves once more and says where it
    stepped, Radau IIA (order 5) follows it there, and its steps are differentiated exactly, from
    the last to the first: what contracts forwards contracts so, too.
    """

    mode = "adjoint"
    advice = "take an explicit solver with gradient='backprop'"

    def loop(self, problem):
        return _Forward(problem, self._settings)

    def check(self, diagnostics, part, tensors, advice=""):
        return require_success(diagnostics, self._name, tensors)

    def backward(self, problem, solution, cotangents, sources):
        def gradients(tensors, times, states, cotangents):
            local = problem.of(*tensors)
            way = _Way(local, self._settings)
            found = way.back(cotangents, Sources(local.constants, sources.variables))
            return *_by_times(local, times, states, cotangents, found[0]), *found

        given = problem.tensors, solution.times, list(solution.states), cotangents
        found = _compiled(gradients)(*given)
        # What an outer tape was not shown depends, for it, on all that it was made of.
        made_of = [*problem.tensors, *sources.variables, *cotangents]
        floating = [x for x in map(tf.convert_to_tensor, made_of) if x.dtype.is_floating]
        tie = tf.add_n([tf.cast(tf.reduce_sum(x - x), cotangents[0].dtype) for x in floating])
        return Gradients(*tf.nest.map_structure(lambda g: g + tf.cast(tie, g.dtype), found))


def _compiled(fn: Callable) -> Callable:
    """TFP's loops, and above all their Jacobians, take minutes operation by operation."""
    if not tf.executing_eagerly():
        return fn

    def call(*arguments):
        traced = tf.function(fn, autograph=False)
        try:
            found = traced.get_concrete_function(*arguments)
        except LookupError as error:  # TensorFlow's, of an operation without a derivative
            raise SecondDerivativeError(
                "the gradient of bdf is asked for under a persistent tape, which would need its "
                "second derivative. Leave that tape first: call tape.gradient outside of its "
                "`with`."
            ) from error
        for variable in found.variables:
            variable.read_value()  # which tells tapes and custom gradients that it is used
        with record.stop_recording():  # or the tapes around it would differentiate the function
            return traced(*arguments)

    return call


def _by_times(problem: Problem, times, states, cotangents, by_state) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients by the initial and the solution times."""
    if not problem.differentiable_times:
        return tf.zeros_like(problem.initial_time), tf.zeros_like(problem.solution_times)
    slope = problem.field(problem.initial_time, problem.initial_state)

    def by_time(args):
        time, state, cotangent = args
        return dot(cotangent, problem.field(time, state))

    found = tf.map_fn(by_time, (times, states, cotangents), fn_output_signature=times.dtype)
    return -dot(by_state, slope), found[-1:] if problem.every_step else found


class _Forward:
    """A solve by BDF, without TFP's gradient."""

    def __init__(self, problem: Problem, solver: tfp.math.ode.BDF):
        self._problem, self._solver = problem, solver
        self.clock = Clock.of(problem)

    def run(self, first_step_size: Any = None) -> Solution:
        """Solves to the solution times; the first step size is the solver's own."""
        del first_step_size
        every_step = self._problem.every_step
        results = _compiled(self.follow)(None if every_step else self.clock.targets)
        times = self.clock.start + self.clock.signed(results.times)
        internal = results.solver_internal_state
        states = list(results.states)
        return Solution(times, states, results.diagnostics, internal_state=internal)

    def follow(self, times: tf.Tensor | None) -> tfp.math.ode.Results:
        """The solution on the clock, at these times or at those of all steps."""
        # TensorFlow derives each loop anew for each tape that watches what goes in.
        problem = self._problem.of(*map(tf.stop_gradient, self._problem.tensors))
        clock = Clock.of(problem)
        chosen = tfp.math.ode.ChosenBySolver(clock.span)

        def ode_fn(elapsed, state):
            slopes = problem.field(clock.time(elapsed), list(state))
            return [clock.signed(require_finite(k, elapsed)) for k in slopes]

        wrong = ["solution_times must be finite and go from initial_time on in one direction."]
        valid = tf.debugging.Assert(clock.is_valid(), wrong)
        with tf.control_dependencies([valid] if valid is not None else []):
            state = [tf.identity(y) for y in problem.initial_state]
        return self._solver._solve(
            ode_fn=ode_fn,
            initial_time=tf.zeros_like(clock.span),
            initial_state=state,
            solution_times=chosen if times is None else times,
        )


class _Back(NamedTuple):
    """What goes from a step to the one before it."""

    state: tf.Tensor
    sources: Tensors
    evaluations: tf.Tensor


class _Way:
    """The steps of one solve, forwards and backwards, on vectors."""

    def __init__(self, problem: Problem, solver: tfp.math.ode.BDF):
        forward = _Forward(problem, solver)
        self._problem, self._clock = problem, forward.clock
        self._vector, self._tensors = as_vector(problem.initial_state)
        self._start = self._vector(problem.initial_state)
        results = forward.follow(None)
        states = require_success(results.diagnostics, solver.name, results.states)
        first = tf.zeros_like(self._clock.span)[tf.newaxis]
        self._known = tf.concat([first, results.times], 0)
        self._states = tf.concat([self._start[tf.newaxis], self._rows(states)], 0)
        if problem.every_step:
            self._targets = self._known[1:]
        else:
            self._targets = self._clock.targets
        self._rtol, self._atol = (tf.cast(x, first.dtype) for x in (solver._rtol, solver._atol))
        self._knots = self._all_knots(first)

    def _rows(self, states: Tensors) -> tf.Tensor:
        """States at several times as vectors."""
        pairs = zip(states, self._problem.initial_state, strict=True)
        return tf.concat([tf.reshape(y, [tf.shape(y)[0], tf.size(z)]) for y, z in pairs], 1)

    def _all_knots(self, first: tf.Tensor) -> tf.Tensor:
        """The solver's own times, the solution times, and times closer and closer to these."""
        times = [self._known, self._targets]
        if not self._problem.every_step:
            before = tf.concat([first, self._targets[:-1]], 0)
            halves = 0.5 ** tf.range(1, _NUM_HALVINGS + 1, dtype=first.dtype)
            parts = (self._targets - before)[:, tf.newaxis] * halves
            times.append(tf.reshape(self._targets[:, tf.newaxis] - parts, [-1]))
        return tf.unique(tf.sort(tf.concat(times, 0)))[0]

    def _field(self, elapsed: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
        slopes = self._problem.field(self._clock.time(elapsed), self._tensors(vector))
        return self._clock.signed(self._vector(slopes))

    def _step(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Times of the stages, and length, of a step."""
        start, end = self._knots[index], self._knots[index + 1]
        return radau.times(start, end - start), end - start

    def _guess(self, times: tf.Tensor) -> tf.Tensor:
        """The solver's own solution, on straight lines between its steps."""
        after = tf.searchsorted(self._known, times, side="left")
        after = tf.clip_by_value(after, 1, tf.size(self._known) - 1)
        low, high = (tf.gather(self._known, after - i) for i in (1, 0))
        part = ((times - low) / (high - low))[:, tf.newaxis]
        low, high = (tf.gather(self._states, after - i) for i in (1, 0))
        return low + part * (high - low)

    def _tolerance(self, vector: tf.Tensor) -> tf.Tensor:
        """To which the stages are solved for: below the solver's, and above what the dtype has."""
        resolution = 100.0 * tf.experimental.numpy.finfo(vector.dtype.as_numpy_dtype).eps
        size = tf.abs(vector)
        return tf.maximum(_NEWTON_FACTOR * (self._atol + self._rtol * size), resolution * size)

    def _forth(self) -> tuple[tf.TensorArray, tf.Tensor]:
        """The stages of all steps, and the number of evaluations."""
        number = tf.size(self._knots) - 1
        array = tf.TensorArray(self._start.dtype, number, clear_after_read=False)

        def body(index, state, array, converged, evaluations):
            times, length = self._step(index)
            guess = tf.concat([state[tf.newaxis], self._guess(times)], 0)
            found = radau.solve(self._field, times, length, guess, self._tolerance)
            return (
                index + 1,
                found.values[-1],
                array.write(index, found.values),
                converged & found.converged,
                evaluations + radau.NUM_STAGES * found.num_iterations,
            )

        *_, array, converged, evaluations = tf.while_loop(
            lambda index, *_: index < number,
            body,
            (tf.constant(0), self._start, array, tf.constant(True), tf.constant(0)),
            parallel_iterations=1,
        )
        failed = ["bdf: the gradient's Newton iteration did not converge: tighten rtol and atol."]
        check = tf.debugging.Assert(converged, failed)
        with tf.control_dependencies([check] if check is not None else []):
            return array, tf.identity(evaluations)

    def back(self, cotangents: Tensors, sources: Sources) -> tuple[Tensors, Tensors]:
        """From dL/d(states at the solution times) those by the initial state and the sources."""
        stages, evaluations = self._forth()
        at_times = tf.searchsorted(self._knots, self._targets)
        shape = [tf.size(self._knots), tf.size(self._start)]
        given = tf.scatter_nd(at_times[:, tf.newaxis], self._rows(cotangents), shape)

        def body(index, carry):
            times, length = self._step(index)
            values = stages.read(index)
            cotangent = carry.state + given[index + 1]
            state, by_slopes = radau.transpose(self._field, times, length, values, cotangent)
            products = self._by_sources(sources.tensors, times, values, by_slopes)
            evaluations = carry.evaluations + radau.NUM_STAGES
            return index - 1, _Back(state, add(carry.sources, products), evaluations)

        _, found = tf.while_loop(
            lambda index, _: index >= 0,
            body,
            (
                tf.size(self._knots) - 2,
                _Back(tf.zeros_like(self._start), sources.zeros(), evaluations),
            ),
            parallel_iterations=1,
        )
        self._problem.report_backward(found.evaluations)
        return self._tensors(found.state + given[0]), found.sources

    def _by_sources(self, tensors: Tensors, times, stages, cotangents) -> Tensors:
        """Those by what the field depends on, in one step."""
        if not tensors:
            return []
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tensors)
            slopes = [self._field(times[i], stages[i]) for i in range(radau.NUM_STAGES)]
        products = vector_jacobian(tape, slopes, tensors, tf.unstack(cotangents, radau.NUM_STAGES))
        return [tf.cast(p, wide_dtype(p.dtype)) for p in products]
