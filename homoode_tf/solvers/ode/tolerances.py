# SPDX-License-Identifier: Apache-2.0
"""Tolerances of all elements of a state alike, of each component, or of each element."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from homoode_tf import checks
from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.ode.flat import Tensors

# Nested tuples of numbers, which can be compared, hashed and saved, stand for arrays.
Tolerance = float | tuple
# How far below a dtype's resolution they may be: TFP's own tests ask for 1e-8 of states in float32,
# and get it.
OF_RESOLUTION = 16


def plain(name: str, value: Any, optional: bool = False) -> Tolerance:
    """Returns a number, an array or a nest of them as a number or nested tuples of numbers.

    Raises:
      ValueError: If one of them is no positive number; the message says whether None would do.
    """
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value)]
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value):
        return tuple(plain(f"{name}[{i}]", each) for i, each in enumerate(value))
    checks.check_number(name, value, above=0, optional=optional)
    return float(value)


def of_components(
    rtol: Tolerance, atol: Tolerance, state: Tensors
) -> list[tuple[Tolerance, Tolerance]]:
    """The relative and the absolute tolerance of each component.

    An adjoint state has as many components again, and their tolerances again.

    Raises:
      ValueError: If their number or their shapes are not those of the state.
    """
    pairs = zip(_each("rtol", rtol, state), _each("atol", atol, state), strict=True)
    return list(pairs)


def _each(name: str, value: Tolerance, state: Tensors) -> list[Tolerance]:
    if not isinstance(value, tuple):
        return [value] * len(state)
    values: list[Tolerance] = [value]
    if len(state) > 1:
        values = list(value) * (len(state) // len(value) if len(state) % len(value) == 0 else 1)
    if len(values) != len(state):
        raise InvalidValueError(
            f"{name} must be a number or one entry for each of the state's {len(state)} "
            f"components, got {len(value)} entries."
        )
    for each, component in zip(values, state, strict=True):
        _check_shape(name, each, component.shape)
    return values


def _check_shape(name: str, value: Tolerance, shape: Any) -> None:
    try:
        given = np.shape(value)
    except ValueError:
        given = None
    sizes = None if shape.rank is None else list(shape)
    fits = given is not None
    if fits and sizes is not None:
        pairs = zip(reversed(given), reversed(sizes), strict=False)
        fits = len(given) <= len(sizes) and all(g == 1 or s is None or g == s for g, s in pairs)
    if not fits:
        raise InvalidValueError(
            f"{name} must broadcast to the shape {shape} of what it is for, got an array of shape "
            f"{given}."
        )


def multiplied(value: Tolerance, factor: float) -> Tolerance:
    """All of a tolerance's numbers times a factor."""
    if not isinstance(value, tuple):
        return factor * value
    return tuple(multiplied(each, factor) for each in value)
