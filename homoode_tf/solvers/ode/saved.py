# SPDX-License-Identifier: Apache-2.0
"""A solver of initial value problems as what a config can hold."""

import inspect
from typing import Any

import keras
import tensorflow_probability as tfp

from homoode_tf.errors import InvalidValueError
from homoode_tf.solvers.ode.bdf import BDF

_PLAIN = (bool, int, float, str, type(None))
TFP_CLASSES = {
    name: value
    for name, value in vars(tfp.math.ode).items()
    if isinstance(value, type) and issubclass(value, tfp.math.ode.Solver)
} | {"BDF": BDF}


def serialize(solver: tfp.math.ode.Solver) -> dict[str, Any]:
    """Returns a solver as a JSON-compatible dictionary, for `get`.

    A class that is registered with Keras says itself what makes it again (`get_config`); TFP's own
    classes do not, and are described by their arguments.

    Raises:
      ValueError: If the class is neither, or an argument is no plain number or text.

    Example:
        >>> import tensorflow_probability as tfp
        >>> serialize(tfp.math.ode.BDF(rtol=1e-4))["config"]["rtol"]
        0.0001
    """
    name = type(solver).__name__
    if keras.saving.get_registered_name(type(solver)) != name:
        return keras.saving.serialize_keras_object(solver)
    # Ours stands for TFP's of the same name, whose settings it has.
    if not issubclass(TFP_CLASSES.get(name, object), type(solver)):
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
