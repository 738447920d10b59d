# SPDX-License-Identifier: Apache-2.0
"""Solvers of initial value problems by name, and as what a config can hold."""

import functools
import inspect
from typing import Any

import keras
import tensorflow_probability as tfp

from homoode_tf import identifiers
from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.ode.foreign import ForeignSolver
from homoode_tf.solvers.ode.runge_kutta import RungeKutta
from homoode_tf.solvers.ode.tableaus import BY_NAME

_PLAIN = (bool, int, float, str, type(None))
_TFP = {
    name: value
    for name, value in vars(tfp.math.ode).items()
    if isinstance(value, type) and issubclass(value, tfp.math.ode.Solver)
}


def names() -> tuple[str, ...]:
    """Names of the solvers: those of fixed steps, then the adaptive ones, each by their order.

    Example:
    >>> names()
    ('euler', 'midpoint', 'heun', 'rk4', 'heun_euler', 'bosh3', 'dopri5', 'tsit5', 'dop853')
    """
    return tuple(BY_NAME)


def get(name: Any, **options: Any) -> tfp.math.ode.Solver:
    """Returns a solver from its name, its saved description, or itself.

    Args:
      name: One of `names()`: euler (order 1), midpoint (2), heun (2) and rk4 (4) need
        num_steps or step_size; heun_euler 2(1), bosh3 3(2), dopri5 5(4), tsit5 5(4) and dop853
        8(5,3) control their steps unless one of these is given. Or the name of a solver class
        registered with Keras, what `serialize` returns, or any `tfp.math.ode.Solver`.
      **options: Arguments of `RungeKutta` (or of the registered class), for a name.

    Returns:
      The solver.

    Raises:
      ValueError: If the name is unknown, or an option has a value that is not allowed.
      TypeError: If an option is unknown.

    Example:
    >>> get("rk4", num_steps=8)
    RungeKutta('rk4', num_steps=8)
    """
    by_name = {each: functools.partial(RungeKutta, each) for each in BY_NAME}
    classes = {"RungeKutta": RungeKutta, **_TFP}
    base = tfp.math.ode.Solver
    return identifiers.resolve("solver", name, base, by_name, options, classes)


def as_problem_solver(solver: tfp.math.ode.Solver) -> RungeKutta | ForeignSolver:
    """What solves a `Problem` by a solver: itself, or an adapter."""
    return solver if isinstance(solver, RungeKutta) else ForeignSolver(solver)


def serialize(solver: tfp.math.ode.Solver) -> dict[str, Any]:
    """Returns a solver as a JSON-compatible dictionary, for `get`.

    A class that is registered with Keras says itself what makes it again (`get_config`); TFP's own
    classes do not, and are described by their arguments.

    Raises:
      ValueError: If the class is neither, or an argument is no plain number or text.

    Example:
    >>> get(serialize(get("rk4", num_steps=8)))
    RungeKutta('rk4', num_steps=8)
    """
    name = type(solver).__name__
    if keras.saving.get_registered_name(type(solver)) != name:
        return keras.saving.serialize_keras_object(solver)
    if _TFP.get(name) is not type(solver):
        raise InvalidValueError(
            f"Cannot save a solver of class {name}: register the class with "
            "keras.saving.register_keras_serializable and give it get_config and from_config, or "
            "give a solver by name."
        )
    config = {}
    for argument, parameter in inspect.signature(type(solver)).parameters.items():
        value = getattr(solver, f"_{argument}", parameter.default)
        if argument == "make_adjoint_solver_fn":
            continue  # a function; TFP's default, the same solver, is taken again
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(number, _PLAIN) for number in numbers):
            raise InvalidValueError(
                f"Cannot save {name}: its argument {argument} is {value!r}, not a plain number. "
                "Give numbers, or give the layer a solver by name."
            )
        config[argument] = value
    return {"class_name": name, "config": config}
