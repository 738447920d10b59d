# SPDX-License-Identifier: Apache-2.0
"""A state of several small components as one vector, so that a step's arithmetic is done once."""

import dataclasses
from collections.abc import Callable
from typing import Any

from homoode_tf.solvers.ode.flat import Tensors, as_vector
from homoode_tf.solvers.ode.problem import Field, Problem
from homoode_tf.solvers.ode.settings import Settings

# Fewer components cost no more than what joins and splits them.
_FEWEST = 3
# In a larger state it is the elements that cost, and they would be copied.
_LARGEST_SIZE = 2**12


def join(
    problem: Problem, pack: Callable[[Tensors], Any], settings: Settings
) -> tuple[Problem, Callable[[Tensors], Any]]:
    """The problem for one vector, where that is faster, and what makes of such states a user's.

    Args:
      problem: Of any components; as `statement.of` makes it.
      pack: What makes of the problem's states, with any leading axes, what the user knows.
      settings: How it will be solved.
    """
    state = problem.initial_state
    if settings.step_control == "sample" or not _pays(state) or _differ(settings):
        return problem, pack
    vector, components = as_vector(state)

    def bind(constants: Tensors) -> Field:
        field = problem.bind(constants)
        return lambda time, joined: [vector(field(time, components(joined[0])))]

    joined = dataclasses.replace(problem, bind=bind, initial_state=[vector(state)])
    return joined, lambda states: pack(components(states[0]))


def _pays(state: Tensors) -> bool:
    sizes = [y.shape.num_elements() for y in state]
    return len(state) >= _FEWEST and None not in sizes and sum(sizes) <= _LARGEST_SIZE


def _differ(settings: Settings) -> bool:
    """Whether components may have tolerances of their own."""
    each = [settings, settings.adjoint] if settings.adjoint else [settings]
    return any(isinstance(x, tuple) for s in each for x in (s.rtol, s.atol))
