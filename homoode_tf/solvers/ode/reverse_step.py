# SPDX-License-Identifier: Apache-2.0
"""The derivative of one Runge-Kutta step, from its end to its start."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from homoode_tf.solvers.ode.flat import (
    Tensors,
    add,
    combine,
    expand,
    scale,
    sum_like,
    total,
    wide_dtype,
)
from homoode_tf.solvers.ode.own_gradient import vector_jacobian
from homoode_tf.solvers.ode.step import Stepper


class _Node(NamedTuple):
    """A point at which a step is put together: a stage, or its end.

    Attributes:
      weights: Of the slopes before it.
      time: Where the field is asked.
      state: y + sum_j weights_j slopes_j.
      slope: What the field says there; None at an end where it is not asked.
      tape: Of that evaluation.
    """

    weights: list[tf.Tensor | None]
    time: tf.Tensor
    state: Tensors
    slope: Tensors | None
    tape: tf.GradientTape | None


class ByStep(NamedTuple):
    """Cotangents of what a step is made from; the times are None where they do not count."""

    state: Tensors
    parameters: Tensors
    elapsed: tf.Tensor | None
    length: tf.Tensor | None
    start: tf.Tensor | None


class ReverseStep:
    """Takes a step once more, and then goes back through it.

    The step is a sweep over its stages, and so is its derivative: with the cotangents of the stages
    after it, that of a slope is the sum over them with the same weights. Written so, each is one
    sum; a tape around the whole step would make a tensor of every product.

    Args:
      stepper: What takes the step.
      elapsed: Where it starts on the clock.
      length: Of the step.
      state: Components at its start.
      parameters: What else to differentiate by: tensors and variables that the field uses.
      timed: Whether to differentiate by the times.

    Attributes:
      slopes: Derivatives at the stages, and at the end where that is evaluated.
    """

    def __init__(
        self,
        stepper: Stepper,
        elapsed: tf.Tensor,
        length: tf.Tensor,
        state: Tensors,
        parameters: Sequence[tf.Tensor],
        timed: bool,
    ):
        self._stepper, self._parameters = stepper, list(parameters)
        self._base = state
        self._times = [elapsed, length, stepper.clock.start] if timed else []
        with tf.GradientTape(watch_accessed_variables=False) as self._tape:
            self._tape.watch(self._times)
            rows, times = self._schedule(elapsed, length)
        self.slopes: list[Tensors] = []
        self._nodes: list[_Node] = []
        for number, (weights, time) in enumerate(zip(rows, times, strict=True)):
            is_end = number == len(rows) - 1
            self._nodes.append(self._evaluate(weights, time, is_end))
            if self._nodes[-1].slope is not None:
                self.slopes.append(self._nodes[-1].slope)

    def _schedule(self, elapsed, length):
        """The weights of the slopes at every node, and its time: the stages, then the end."""
        tableau, clock = self._stepper.tableau, self._stepper.clock
        rows = scale(clock.signed(length), [*tableau.a, tableau.b])
        # The last stage of first-same-as-last methods is the end.
        stages = tableau.num_stages - tableau.fsal
        times = clock.times_in_step(elapsed, length, [*tableau.c[:stages], 1.0])
        return [[], *rows[: stages - 1], rows[-1]], times

    def _evaluate(self, weights, time, is_end: bool) -> _Node:
        state = list(self._base)
        if any(w is not None for w in weights):
            dtype = None if is_end else self._stepper.stage_dtype
            state = combine(self._base, weights, self.slopes, dtype)
        if is_end and not self._stepper.close:
            return _Node(weights, time, state, None, None)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([*state, *self._parameters, *([time] if self._times else [])])
            slope = self._stepper.field(time, state)
        return _Node(weights, time, state, slope, tape)

    def pull_back(self, cotangent: Tensors, by_slopes: Sequence[Tensors] | None = None) -> ByStep:
        """From the cotangent of the state at the end, and those that the slopes have beside."""
        by_states: list[Tensors] = [None] * len(self._nodes)
        by_parameters: list[Tensors] = []
        by_times = [tf.zeros_like(node.time) for node in self._nodes if self._times]
        for number in reversed(range(len(self._nodes))):
            node = self._nodes[number]
            by_state = list(cotangent) if number == len(self._nodes) - 1 else None
            if node.slope is not None:
                given = by_slopes[number] if by_slopes else None
                by_slope = self._by_slope(number, by_states, given)
                if by_slope is not None:
                    sources = [*node.state, *self._parameters]
                    sources += [node.time] if self._times else []
                    found = vector_jacobian(node.tape, node.slope, sources, by_slope)
                    size = len(self._base)
                    through = found[:size]
                    by_state = through if by_state is None else add(by_state, through)
                    by_parameters.append(found[size : size + len(self._parameters)])
                    if self._times:
                        by_times[number] = found[-1]
            by_states[number] = by_state
        known = [s for s in by_states if s is not None]
        by_times = self._by_times(by_states, by_times) if self._times else [None] * 3
        by_state = _sum(known, self._base[0].dtype)
        by_parameters = _sum(by_parameters)
        return ByStep(by_state, by_parameters, *by_times)

    def _by_slope(self, number: int, by_states, given: Tensors | None) -> Tensors | None:
        """The cotangent of a slope: from the nodes after it that use it."""
        later = [
            (node.weights[number], by_state)
            for node, by_state in zip(self._nodes, by_states, strict=True)
            if by_state is not None
            and number < len(node.weights)
            and node.weights[number] is not None
        ]
        dtype = self.slopes[number][0].dtype
        if not later:
            # The last slope counts for states inside of the step alone, which are wide.
            return given and [tf.cast(g, dtype) for g in given]
        return combine(given, [w for w, _ in later], [s for _, s in later], dtype)

    def _by_times(self, by_states, by_times) -> Tensors:
        """The cotangents of start and length, through the weights and the times of the nodes."""
        targets, cotangents = [n.time for n in self._nodes], list(by_times)
        for node, by_state in zip(self._nodes, by_states, strict=True):
            for weight, slope in zip(node.weights, self.slopes, strict=False):
                if weight is None or by_state is None:
                    continue
                targets.append(weight)
                parts = [
                    sum_like(tf.cast(c, y.dtype) * tf.cast(k, y.dtype), expand(weight, y))
                    for c, k, y in zip(by_state, slope, self._base, strict=True)
                ]
                cotangents.append(tf.reshape(tf.add_n(parts), tf.shape(weight)))
        return vector_jacobian(self._tape, targets, self._times, cotangents)


def _sum(lists: Sequence[Tensors], dtype: tf.DType | None = None) -> Tensors:
    """Sums over lists of components, in at least single precision."""
    return [
        total(*parts, dtype=(dtype or wide_dtype(parts[0].dtype)).name)
        for parts in zip(*lists, strict=True)
    ]
