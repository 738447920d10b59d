# SPDX-License-Identifier: Apache-2.0
"""All numbers of the page."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from homoode_tf.layers import ConvDynamics, HomoODE
from scripts.two_sides import learned
from scripts.two_sides.problem import ANGLE, CONDITION, CONDITIONS, START, RotatingMap
from scripts.two_sides.ways import WAYS, Way, recorded

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-6, 1e-8)
PRINTED = (1e-3, 1e-6, 1e-8)
SHARP_TOLERANCE = 1e-6
# How many held-out conditions the iterations solve from HomoODE's initial point, and how many
# HomoODE solves in batches of one.
_RIVALS_CONDITIONS = 256
_SOLVED_ALONE = 64

Ways = Mapping[str, Way]


def all_ways(g: RotatingMap, tolerance: float) -> Ways:
    """The ways of `WAYS` from the page's start, by name."""
    return {name: way(g, np.array(START), tolerance) for name, way in WAYS.items()}


def problem(g: RotatingMap) -> dict[str, Any]:
    """The constants of the equation and its equilibrium."""
    equilibrium = g.equilibrium()
    jacobian = g.jacobian(equilibrium)
    eigenvalue = np.linalg.eigvals(jacobian)[0]
    return {
        "factor": g.factor,
        "angle": ANGLE,
        "condition": CONDITION,
        "start": START,
        "lipschitz_constant": float(np.linalg.norm(g.matrix, 2)),
        "equilibrium": equilibrium.tolist(),
        "residual": float(np.linalg.norm(g(tf.constant(equilibrium)) - equilibrium)),
        "jacobian_norm": float(np.linalg.norm(jacobian, 2)),
        "eigenvalue": [float(eigenvalue.real), abs(float(eigenvalue.imag))],
        "spectral_radius": float(abs(eigenvalue)),
    }


def cost(way: Way, g: RotatingMap) -> dict[str, Any]:
    """What a way has cost, and how near its end is."""
    return {
        "evaluations": way.evaluations,
        "jacobians": way.jacobians,
        "products": way.products,
        "work": way.work,
        "length": way.length,
        "arrived": way.arrived,
        "distance": way.distance(g.equilibrium()),
        "residual": float(np.sqrt(np.mean((g(tf.constant(way.end)) - way.end) ** 2))),
    }


def homoode(layer: HomoODE, g: RotatingMap) -> dict[str, Any]:
    """How near a trained HomoODE comes, and what that costs it and others."""
    conditions, equilibria = learned.held_out(g.factor)
    own = learned.in_float64(layer)
    start = own.initial_point(tf.zeros([1, 2], tf.float64)).numpy()[0]
    errors = learned.errors(own, conditions, equilibria)
    distance_of_start = float(np.linalg.norm(start - equilibria, axis=1).mean())
    costs = {}
    for tolerance in TOLERANCES:
        solve = learned.follow_one(learned.in_float64(layer, tolerance), g.condition)
        path = solve.curve.states[:, 0]
        costs[f"{tolerance:.0e}"] = {
            "evaluations": solve.num_evaluations,
            "steps": len(solve.step_sizes),
            "distance": float(np.linalg.norm(path[-1] - g.equilibrium())),
            "length": float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum()),
        }
    twice = learned.in_float64(layer, 1e-8, final_time=2.0)
    whole = learned.follow_one(twice, g.condition).curve
    halfway = int(np.argmin(np.abs(whole.times - 1.0)))
    beyond = learned.errors(twice, conditions, equilibria)
    return {
        "parameters": int(layer.dynamics.count_params()),
        "training_conditions": learned.NUM_TRAINING,
        "batch_size": learned.BATCH_SIZE,
        "width": learned.WIDTH,
        "conditions": CONDITIONS,
        "held_out": {
            "number": len(errors),
            "mean": float(errors.mean()),
            "median": float(np.median(errors)),
            "max": float(errors.max()),
            "mean_at_time_2": float(beyond.mean()),
            "mean_of_start": distance_of_start,
            "removed": 1.0 - float(errors.mean()) / distance_of_start,
            "evaluations": evaluations_alone(own, conditions[:_SOLVED_ALONE]),
            "solved_alone": _SOLVED_ALONE,
        },
        "initial_point": start.tolist(),
        "mean_equilibrium": equilibria.mean(axis=0).tolist(),
        "costs": costs,
        "speed_at_start": float(whole.residuals[0, 0]),
        "speed_at_end": float(whole.residuals[halfway, 0]),
        "distance_at_time_2": float(np.linalg.norm(whole.states[-1, 0] - g.equilibrium())),
        "rivals": rivals(g, start, errors, conditions, equilibria),
    }


def evaluations_alone(layer: HomoODE, conditions: np.ndarray) -> float:
    """Mean number of evaluations of F of conditions (number, 2) in batches of one."""
    counts = []
    for condition in conditions:
        layer(tf.constant(condition[np.newaxis]))
        counts.append(int(layer.forward_nfe))
    return float(np.mean(counts))


def rivals(
    g: RotatingMap,
    start: np.ndarray,
    errors: np.ndarray,
    conditions: np.ndarray,
    equilibria: np.ndarray,
) -> dict[str, float | int]:
    """Mean number of evaluations of g after which an iteration is as near to z* as HomoODE.

    Each starts at HomoODE's initial point, for the first held-out conditions.

    Args:
        g: The map; its condition is not used.
        start: The initial point, of shape (2,).
        errors: HomoODE's distances, of shape (number,).
        conditions: The conditions, of shape (number, 2).
        equilibria: Their equilibria, of the same shape.

    Returns:
        The mean by the solver's name (products with the Jacobian count as evaluations), and the
        number of conditions.
    """
    number = min(_RIVALS_CONDITIONS, len(conditions))
    batch = RotatingMap(g.factor, conditions[:number])
    starts = np.tile(start, (number, 1))
    means = {"number": number}
    for name in ("damped", "anderson", "broyden", "newton_krylov"):
        _, points = recorded(batch, starts, 1e-10, name)
        near = np.linalg.norm(points - equilibria[:number], axis=2) <= errors[:number]
        # The index of a point is the number of evaluations before it.
        means[name] = float(np.argmax(near, axis=0).mean())
    return means


def turning_points(way: Way) -> np.ndarray:
    """Indices of the points of a homotopy's curve at which lambda turns."""
    rising = np.diff(way.parameters) > 0.0
    return np.flatnonzero(np.diff(rising)) + 1


def sharp(g: RotatingMap, found: Ways) -> dict[str, Any]:
    """What happens where the equilibrium repels."""
    path = found["fixed-point homotopy"]
    return {
        **problem(g),
        "tolerance": SHARP_TOLERANCE,
        "ways": {name: cost(way, g) for name, way in found.items()},
        "turns": path.parameters[turning_points(path)].tolist(),
        "newton_largest_parameter": float(found["Newton homotopy"].parameters.max()),
    }


def speed_of_fresh_conv_dynamics() -> list[float]:
    """Smallest and largest rms(F(z; x)) of a sample, of an untrained `ConvDynamics(64)`."""
    random = np.random.default_rng(0)
    z, x = random.normal(size=(2, 16, 4, 4, 64)).astype(np.float32)
    values = ConvDynamics(64)(tf.constant(3.0 * z), tf.constant(x)).numpy()
    speeds = np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=(1, 2, 3)))
    return [float(speeds.min()), float(speeds.max())]
