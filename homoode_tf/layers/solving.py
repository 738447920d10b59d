# SPDX-License-Identifier: Apache-2.0
"""The solver that a layer takes, and what it makes of times of each sample's own and of events."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.ode import events, rescaling, tolerances
from homoode_tf.solvers.ode.problem import Problem
from homoode_tf.solvers.ode.results import Solution
from homoode_tf.solvers.ode.settings import TO_COMPILE

# What a solver that a layer is given by name has, unless the layer's arguments say otherwise.
_DEFAULTS = {"rtol": 1e-3, "atol": 1e-3, "gradient": "checkpoint"}
# The adjoint to ten times the tolerance: with the CIFAR-10 model, eight images and 1e-3 it takes 26
# evaluations instead of 67, and the gradient's error grows from 2.0 to 2.4 per cent, by which the
# exact derivative of that forward solve is off as well.
_ADJOINT_FACTOR = 10.0


def make_solver(solver: Any, settings: Mapping[str, Any]) -> tfp.math.ode.Solver:
    """The solver of a layer: settings are for one given by name."""
    settings = {name: value for name, value in settings.items() if value is not None}
    for name in {"rtol", "atol"} & settings.keys():
        settings[name] = tolerances.plain(name, settings[name])
    if solver == "bdf":
        tolerance = {name: _DEFAULTS[name] for name in ("rtol", "atol")}
        return solvers.get(solver, **{**tolerance, **settings})
    if not isinstance(solver, str) or solver not in solvers.names():
        return solvers.get(solver, **settings)
    settings = {**_DEFAULTS, **settings}
    # A solver for the adjoint alone has tolerances of its own.
    if not {"num_steps", "step_size", "adjoint_solver"} & settings.keys():
        for name in ("rtol", "atol"):
            looser = tolerances.multiplied(settings[name], _ADJOINT_FACTOR)
            settings.setdefault(f"adjoint_{name}", looser)
    return solvers.get(solver, **settings)


def to_compile(solver: tfp.math.ode.Solver) -> str:
    """What to do so that XLA can compile a solve and its gradient; "" where it can."""
    if isinstance(solver, tfp.math.ode.BDF):
        return "XLA cannot compile 'bdf': take an explicit solver, such as 'dopri5'"
    return "" if getattr(solver, "gradient_compiles", True) else TO_COMPILE


def by_sample(solver: tfp.math.ode.Solver, problem: Problem) -> tuple[tfp.math.ode.Solver, Problem]:
    """Solver and problem for times of each sample's own."""
    times = problem.solution_times
    settings = getattr(solver, "settings", None)
    if getattr(settings, "step_control", None) != "sample" or settings.stop_times:
        raise InvalidValueError(
            f"times of shape {times.shape}, (batch, times), need step_control='sample' and no "
            "stop_times: set it, or give the times that all samples share, of shape (times,)."
        )
    batch = problem.initial_state[0].shape[0]
    if times.shape[1] is None:
        raise InvalidValueError(
            f"times of each sample's own must be of a known number, got shape {times.shape}: give "
            "their input a size, keras.Input((40,)) say."
        )
    if not times.shape[:1].is_compatible_with([batch]):
        raise InvalidValueError(
            f"times must be of shape (times,) or ({batch}, times), got {times.shape}."
        )
    inner = range(1, times.shape[1])
    problem = rescaling.rescaled(problem, tf.transpose(times))
    return solver.replace(stop_times=list(inner)) if inner else solver, problem


def solve_to_event(
    solver: tfp.math.ode.Solver, problem: Problem, event_fn: Callable, first_step_size: Any
) -> Solution:
    """The solution up to where `event_fn(t, z)` of a flat state is zero."""
    if not isinstance(solver, solvers.RungeKutta):
        raise InvalidValueError(
            f"event_fn needs a solver of this package, such as 'dopri5', got {solver!r}."
        )
    return events.solve(solver, problem, event_fn, first_step_size)
