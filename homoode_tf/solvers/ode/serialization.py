# SPDX-License-Identifier: Apache-2.0
"""Solvers as plain dictionaries, for the configs of Keras layers."""

import inspect
from collections.abc import Mapping

import tensorflow_probability as tfp

from homoode_tf.solvers.ode.runge_kutta import RungeKutta

_CLASSES = {
    "RungeKutta": RungeKutta,
    "DormandPrince": tfp.math.ode.DormandPrince,
    "BDF": tfp.math.ode.BDF,
}
_PLAIN = (bool, int, float, str, type(None))


def serialize(solver: str | tfp.math.ode.Solver) -> str | dict:
    """Returns a solver's name unchanged, or a solver object as its class name and arguments.

    Args:
        solver: A name, a `RungeKutta`, or TFP's `DormandPrince` or `BDF`.

    Returns:
        A string or a JSON-compatible dictionary, for `deserialize`.

    Raises:
        ValueError: If the solver is of another class, or an argument is not a plain number,
            string or boolean.
    """
    if isinstance(solver, str):
        return solver
    name = type(solver).__name__
    if _CLASSES.get(name) is not type(solver):
        raise ValueError(
            f"Cannot save a solver of class {name}; give the layer a solver by name, or one of "
            f"{', '.join(_CLASSES)}."
        )
    if isinstance(solver, RungeKutta):
        return {"class_name": name, "config": solver.get_config()}
    config = {}
    for argument, parameter in inspect.signature(type(solver)).parameters.items():
        value = getattr(solver, f"_{argument}", parameter.default)
        if argument == "make_adjoint_solver_fn":
            continue  # a function; TFP's default, the same solver, is taken again
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(number, _PLAIN) for number in numbers):
            raise ValueError(
                f"Cannot save {name}: its argument {argument} is {value!r}, not a plain number. "
                "Give numbers, or give the layer a solver by name."
            )
        config[argument] = value
    return {"class_name": name, "config": config}


def deserialize(config: str | Mapping) -> str | tfp.math.ode.Solver:
    """Makes what `serialize` described: a name stays a name, a dictionary becomes a solver."""
    if not isinstance(config, Mapping):
        return config
    return _CLASSES[config["class_name"]](**config["config"])
