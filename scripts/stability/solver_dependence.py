# SPDX-License-Identifier: Apache-2.0
"""How an answer depends on the solver's tolerance, and on a final time beyond the trained one."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from homoode_tf.layers import ODELayer
from homoode_tf.solvers import RungeKutta
from scripts.stability.answers import solver_of_each
from scripts.trained import batches_of

TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
TIMES = (0.5, 1.0, 2.0, 4.0)
# What the answers at other tolerances are compared with.
_REFERENCE = 1e-6


def by_tolerance(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> dict[str, Any] | None:
    """What rtol = atol does to answers, at each of `TOLERANCES`.

    Equal steps have no tolerance: there dopri5 takes their place, and "own" tells how far the
    model is, as it was trained, from the answers of its differential equation.

    Returns:
        Lists: "accuracy"; "evaluations" of a batch; "distance", the median over the images of
        |z - z_ref| / |z_ref|, and "changed", the share of the images with another answer, both
        against the tolerance 1e-6. "own": the same figures, of the layer's own solver. None of a
        resnet, whose blocks are no steps of anything.
    """
    layer = model.implicit
    if isinstance(layer, ODELayer) and layer.solver.name == "euler":
        return None
    reference = _answers(model, images, _solver_at(layer, _REFERENCE))

    def measured(solver: Any) -> dict[str, float]:
        answers = _answers(model, images, solver)
        distances = np.linalg.norm(answers["state"] - reference["state"], axis=1)
        return {
            "accuracy": float(np.mean(answers["class"] == labels)),
            "evaluations": answers["evaluations"],
            "distance": float(np.median(distances / np.linalg.norm(reference["state"], axis=1))),
            "changed": float(np.mean(answers["class"] != reference["class"])),
        }

    rows = [measured(_solver_at(layer, tolerance)) for tolerance in TOLERANCES]
    found: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    return found | {"own": measured(solver_of_each(layer))}


def by_time(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> dict[str, list[float]] | None:
    """Accuracy and evaluations where the solve ends at each of `TIMES` times the trained T.

    A resnet has as many more blocks. None for a deq, which has no time.
    """
    layer = model.implicit
    if not isinstance(layer, ODELayer):
        return None
    found: dict[str, list[float]] = {"accuracy": [], "evaluations": []}
    for factor in TIMES:
        changes: dict[str, Any] = {}
        if not layer.solver.adaptive:
            # Its steps stay as long as they are; half of seven blocks are four.
            steps = layer.solver.get_config()["num_steps"]
            changes["num_steps"] = math.ceil(factor * steps)
            factor = changes["num_steps"] / steps
        solver = solver_of_each(layer, **changes)
        answers = _answers(model, images, solver, times=[factor * layer.final_time])
        found["accuracy"].append(float(np.mean(answers["class"] == labels)))
        found["evaluations"].append(answers["evaluations"])
    return found


def _solver_at(layer: keras.layers.Layer, tolerance: float) -> Any:
    changes: dict[str, Any] = {"rtol": tolerance, "atol": tolerance}
    if not isinstance(layer, ODELayer):
        # A limit meant for training would end the iteration before the tolerance does.
        changes |= {"max_num_iterations": 300, "on_failure": "return"}
    elif not layer.solver.adaptive:
        return RungeKutta("dopri5", step_control="sample", gradient="backprop", **changes)
    return solver_of_each(layer, **changes)


def _answers(model: keras.Model, images: np.ndarray, solver: Any, **solve: Any) -> dict[str, Any]:
    """Of each image its "state", flat, and "class"; and "evaluations" of a batch, a mean."""

    @tf.function(autograph=False, reduce_retracing=True)
    def answer(images):
        solution = model.implicit.solve(model.condition(images), solver=solver, **solve)
        state = solution.final_state
        classes = tf.argmax(model.head(state, training=False), axis=1)
        return tf.reshape(state, (tf.shape(state)[0], -1)), classes, solution.num_evaluations

    parts = zip(*(answer(*batch) for batch in batches_of(images)), strict=True)
    states, classes, counts = parts
    return {
        "state": np.concatenate(states).astype(np.float64),
        "class": np.concatenate(classes),
        "evaluations": float(np.mean(counts)),
    }
