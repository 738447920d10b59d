# SPDX-License-Identifier: Apache-2.0
"""The fixed-point solvers by name."""

import functools
from collections.abc import Mapping
from typing import Any

from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.fixed_point.anderson import Anderson
from homoode_tf.solvers.fixed_point.broyden import Broyden
from homoode_tf.solvers.fixed_point.damped import Damped
from homoode_tf.solvers.fixed_point.iteration import FixedPointSolver
from homoode_tf.solvers.fixed_point.newton_krylov import NewtonKrylov

_BY_NAME = {
    "damped": Damped,
    "anderson": Anderson,
    "broyden": Broyden,
    "bad_broyden": functools.partial(Broyden, update="bad"),
    "newton_krylov": NewtonKrylov,
}

_CLASSES = {solver.__name__: solver for solver in (Damped, Anderson, Broyden, NewtonKrylov)}


def names() -> tuple[str, ...]:
    """Names of the fixed-point solvers.

    Example:
      >>> names()
      ('damped', 'anderson', 'broyden', 'bad_broyden', 'newton_krylov')
    """
    return tuple(_BY_NAME)


def get(name: str, **options: Any) -> FixedPointSolver:
    """Makes a fixed-point solver.

    Args:
      name: One of `names()`.
      **options: Arguments of the class.

    Returns:
      The solver.

    Raises:
      ValueError: If the name is unknown, or an option has a value that is not allowed.
      TypeError: If an option is unknown.

    Example:
      >>> get("anderson", memory=3, rtol=1e-4).memory
      3
    """
    if name not in _BY_NAME:
        raise InvalidValueError(
            f"Unknown fixed-point solver {name!r}; known are {', '.join(names())}."
        )
    return _BY_NAME[name](**options)


def serialize(solver: str | FixedPointSolver) -> str | dict:
    """Returns a solver's name unchanged, or a solver as its class name and arguments.

    Returns:
      A string or a JSON-compatible dictionary, for `deserialize`.

    Raises:
      ValueError: If the solver is of a class that is not of this package.
    """
    if isinstance(solver, str):
        return solver
    name = type(solver).__name__
    if _CLASSES.get(name) is not type(solver):
        raise InvalidValueError(
            f"Cannot save a solver of class {name}; known are {', '.join(_CLASSES)}."
        )
    return {"class_name": name, "config": solver.get_config()}


def deserialize(config: str | Mapping) -> str | FixedPointSolver:
    """Makes what `serialize` described: a name stays a name, a dictionary becomes a solver."""
    if not isinstance(config, Mapping):
        return config
    return _CLASSES[config["class_name"]](**config["config"])
