# SPDX-License-Identifier: Apache-2.0
"""The dynamics and the implicit layer around it, from the settings of a model."""

import dataclasses
import inspect
from typing import Any

import keras
import tensorflow_probability as tfp

from homoode_tf import identifiers, solvers
from homoode_tf.layers import DEQ, AugmentedNeuralODE, ImplicitLayer, ODELayer
from homoode_tf.models.initializers import kernel_initializer
from homoode_tf.models.settings import DYNAMICS, LAYERS, ModelSettings
from homoode_tf.solvers import fixed_point
from homoode_tf.solvers.ode.tableaus import BY_NAME

_SOLVER_FIELDS = (
    *("solver", "rtol", "atol", "gradient", "step_control", "max_num_steps", "num_steps"),
    *("max_num_iterations", "on_failure"),
)
_BY_ERROR = ("rtol", "atol", "gradient", "step_control", "max_num_steps")
# What the `**kwargs` of these constructors take.
_CATCH_ALL = {ODELayer: _SOLVER_FIELDS, DEQ: _SOLVER_FIELDS, solvers.RungeKutta: _BY_ERROR}


def resolve_layer(settings: ModelSettings) -> type | keras.layers.Layer:
    """Returns the class of the implicit layer, or the layer itself where the settings have it."""
    return identifiers.find("config.model.layer", settings.layer, ImplicitLayer, LAYERS)


def extra_channels(settings: ModelSettings, layer: type | keras.layers.Layer) -> int:
    """Returns how many of the state's channels the layer adds to those of the stem."""
    if isinstance(layer, AugmentedNeuralODE):
        return layer.extra_channels
    is_augmented = isinstance(layer, type) and issubclass(layer, AugmentedNeuralODE)
    return settings.extra_channels if is_augmented else 0


def make_layer(
    settings: ModelSettings, layer: type | keras.layers.Layer, precision: str
) -> keras.layers.Layer:
    """Returns the implicit layer around its dynamics.

    Args:
        settings: Of the model.
        layer: What `resolve_layer` returned. A class of the user's own is called with the dynamics
            and with those fields of the settings that its constructor takes; a layer has its own
            dynamics, and is returned as it is.
        precision: Keras dtype policy.
    """
    if isinstance(layer, keras.layers.Layer):
        return layer
    dynamics = _make_dynamics(settings, precision)
    offered = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    offered |= {"dynamics": dynamics, "dtype": precision, "name": "implicit"}
    if issubclass(layer, ODELayer | DEQ):
        for name in _SOLVER_FIELDS:
            offered.pop(name, None)
        offered |= _deq_options(settings) if issubclass(layer, DEQ) else _ode_options(settings)
    return _make(layer, offered)


def _make(kind: type, offered: dict[str, Any]) -> Any:
    """An instance of a class from those of the offered arguments that it and its bases take."""
    taken = set()
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            taken.update(parameter.name for parameter in parameters)
            if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
                break
            taken.update(_CATCH_ALL.get(base, ()))
    return kind(**{name: value for name, value in offered.items() if name in taken})


def _pick(settings: ModelSettings, *names: str) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in names}


def _ode_options(settings: ModelSettings) -> dict[str, Any]:
    """What says how to solve: to tolerances, or by equal steps where a solver knows no errors."""
    if settings.layer == "resnet":
        euler = solvers.get("euler", **_pick(settings, "num_steps", "gradient"))
        return {"solver": euler, "final_time": float(settings.num_steps)}
    solver = settings.solver
    if not isinstance(solver, str):
        return {"solver": solver}
    if solver not in BY_NAME:
        kind = identifiers.find("config.model.solver", solver, tfp.math.ode.Solver, {})
        return {"solver": _make(kind, _pick(settings, *_BY_ERROR, "num_steps"))}
    if BY_NAME[solver].adaptive:
        return {"solver": solver, **_pick(settings, *_BY_ERROR)}
    return {"solver": solvers.get(solver, **_pick(settings, "num_steps", "gradient"))}


def _deq_options(settings: ModelSettings) -> dict[str, Any]:
    solver, gradient = settings.solver, settings.gradient
    if not isinstance(solver, str):
        return {"solver": solver, "gradient": gradient}
    # "return": a warning for every batch would tell no more than the residual.
    fields = {**_pick(settings, "rtol", "atol", "max_num_iterations"), "on_failure": "return"}
    if solver in fixed_point.names():
        return {"solver": solver, "gradient": gradient, **fields}
    kind = identifiers.find("config.model.solver", solver, fixed_point.FixedPointSolver, {})
    return {"solver": _make(kind, fields), "gradient": gradient}


def _make_dynamics(settings: ModelSettings, precision: str) -> keras.layers.Layer:
    """The dynamics; a class of the user's own gets what its constructor takes of the below."""
    dynamics = identifiers.find(
        "config.model.dynamics", settings.dynamics, keras.layers.Layer, DYNAMICS
    )
    if isinstance(dynamics, keras.layers.Layer):
        return dynamics
    offered = {
        "channels": settings.channels,
        "filters": settings.channels,
        "groups": settings.groups,
        "dropout_rate": settings.dropout_rate,
        "kernel_initializer": kernel_initializer(),
        "dtype": precision,
        "name": "dynamics",
    }
    return _make(dynamics, offered)
