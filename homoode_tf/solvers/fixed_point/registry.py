# SPDX-License-Identifier: Apache-2.0
"""The fixed-point solvers by name."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from homoode_tf import identifiers
from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.fixed_point.anderson import Anderson
from homoode_tf.solvers.fixed_point.broyden import Broyden
from homoode_tf.solvers.fixed_point.damped import Damped
from homoode_tf.solvers.fixed_point.iteration import FixedPointSolver
from homoode_tf.solvers.fixed_point.newton_krylov import NewtonKrylov

_BY_NAME: dict[str, Callable[..., FixedPointSolver]] = {
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


def get(name: Any, **options: Any) -> FixedPointSolver:
    """Returns a fixed-point solver from its name, its saved description, or itself.

    Args:
      name: One of `names()`, the name of a class registered with Keras, what `serialize`
        returns, or a `FixedPointSolver`.
      **options: Arguments of the class, for a name.

    Returns:
      The solver.

    Raises:
      ValueError: If the name is unknown, or an option has a value that is not allowed.
      TypeError: If an option is unknown.

    Example:
        >>> get("anderson", memory=5, rtol=1e-4).memory
        5
    """
    return identifiers.resolve(
        "fixed-point solver", name, FixedPointSolver, _BY_NAME, options, _CLASSES
    )


def serialize(solver: FixedPointSolver) -> dict[str, Any]:
    """Returns a solver as a JSON-compatible dictionary, for `get`.

    Raises:
      ValueError: If its class is not registered with Keras.

    Example:
        >>> get(serialize(get("anderson", memory=3))).memory
        3
    """
    name = type(solver).__name__
    if keras.saving.get_registered_name(type(solver)) == name:
        raise InvalidValueError(
            f"Cannot save a solver of class {name}: register the class with "
            "keras.saving.register_keras_serializable."
        )
    return keras.saving.serialize_keras_object(solver)
