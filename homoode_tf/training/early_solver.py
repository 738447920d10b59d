# SPDX-License-Identifier: Apache-2.0
"""The cheaper solver with which the first steps of a run may be made."""

from typing import Any

from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import ODELayer, path_energy
from homoode_tf.models import ImageClassifier
from homoode_tf.solvers import RungeKutta
from homoode_tf.solvers.ode import tableaus
from homoode_tf.training.settings import EarlySolverSettings

# What a solver that does not control its steps cannot have.
_OF_CONTROL = {"first_step_size": None, "max_step_size": None, "step_control": "batch"}


def make(settings: EarlySolverSettings, model: ImageClassifier) -> RungeKutta | None:
    """Returns the solver of the model's layer with another tableau; None where no step is made so.

    Args:
        settings: `config.early_solver`.
        model: Whose `implicit` layer it is for.

    Raises:
        InvalidValueError: If the layer's solver has no tableau, or the layer has a loss by the
            solver's error and the other solver does not estimate it.
    """
    if not settings.fraction:
        return None
    layer = model.implicit
    own = layer.solver if isinstance(layer, ODELayer) else None
    if not isinstance(own, RungeKutta):
        raise InvalidValueError(
            f"config.early_solver.fraction must be 0 with {type(layer).__name__} and its solver, "
            f"which has no tableau to exchange; got {settings.fraction}."
        )
    changes: dict[str, Any] = {"tableau": settings.name, "step_size": None, "num_steps": None}
    if not tableaus.get(settings.name).adaptive:
        changes |= {"num_steps": settings.num_steps, **_OF_CONTROL}
    solver = own.replace(**changes)
    if layer.error_weight:
        path_energy.check_error_is_differentiable(solver)
    return solver
