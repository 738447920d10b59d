# SPDX-License-Identifier: Apache-2.0
"""Dynamics that are no Keras layer of several arguments: functional models, and functions."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from homoode_tf.errors import InvalidTypeError, InvalidValueError

TIME = ("t", "time")


def are_swapped(names: list[str], takes_time: bool, needed: int) -> bool:
    """Whether names tell of another order than t, z, x: what they stand for would be mistaken."""
    return any(name in TIME for name in names[1:]) or names[takes_time:needed] == ["x", "z"]


def as_layer(dynamics: Any, has_condition: bool) -> keras.layers.Layer:
    """Returns dynamics as a Keras layer that is called as dynamics(t, z, x), dynamics(z, x), ...

    Raises:
        InvalidValueError: If it is a functional model of another number of inputs.
    """
    is_functional = isinstance(dynamics, keras.Model) and not isinstance(dynamics, keras.Sequential)
    if not is_functional or getattr(dynamics, "inputs", None) is None:
        return dynamics
    arguments = dynamics.input
    # What is no list of arguments is the state: one tensor, or a dictionary of several.
    several = isinstance(arguments, (list, tuple)) and arguments != dynamics.inputs[:1]
    return ModelDynamics(dynamics, has_condition) if several or has_condition else dynamics


@keras.saving.register_keras_serializable(package="homoode_tf")
class ModelDynamics(keras.layers.Layer):
    """A functional Keras model of several inputs as dynamics: (z, x), (t, z) or (t, z, x).

    Its first input is the time if it is named `t` or `time`; it then gets the time of each sample.
    Where z or x is a nest of tensors, the input is one of the same structure: ([a, b], x), say.

    Args:
        model: The model.
        has_condition: Whether its last input is the condition.
        **kwargs: Keras layer arguments.

    Raises:
        InvalidValueError: If it has another number of inputs, or their names another order.
    """

    def __init__(self, model: keras.Model, has_condition: bool, **kwargs):
        super().__init__(**{"dtype": model.dtype_policy, **kwargs})
        arguments = model.input if isinstance(model.input, (list, tuple)) else [model.input]
        names = [getattr(argument, "name", "a nest") for argument in arguments]
        self.model, self.has_condition = model, has_condition
        self.takes_time = names[0] in TIME
        expected = ["z", "x"] if has_condition else ["z"]
        needed = len(expected) + self.takes_time
        if len(names) != needed or are_swapped(names, self.takes_time, needed):
            raise InvalidValueError(
                f"A functional model as dynamics must have the inputs ({', '.join(expected)}) or "
                f"(t, {', '.join(expected)}), the time being named 't', in this order, got "
                f"({', '.join(names)})."
            )

    def call(self, *tensors, training=False):
        tensors = list(tensors)
        if self.takes_time:
            shape = self.model.inputs[0].shape[1:]
            batch = tf.shape(tf.nest.flatten(tensors[1])[0])[0]
            ones = tf.ones([batch, *shape], tensors[0].dtype)
            time = tf.reshape(tensors[0], [-1] + [1] * len(shape))
            tensors[0] = time * ones
        return self.model(tensors, training=training)

    def get_config(self):
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "has_condition": self.has_condition,
        }

    @classmethod
    def from_config(cls, config):
        model = keras.saving.deserialize_keras_object(config["model"])
        return cls(**{**config, "model": model})


class FunctionDynamics(keras.layers.Layer):
    """A Python function as dynamics, with the variables that it uses.

    Args:
        function: Called as the dynamics of a layer are; it may take `training`, too.
        variables: The `keras.Variable`s that it uses and that are to be trained and saved with the
            layer. A trainable one that it uses without its being given is refused.
        **kwargs: Keras layer arguments.

    Raises:
        InvalidTypeError: If the function is none, or a variable none of Keras's.

    Example:
        >>> rate = keras.Variable(-0.5)
        >>> dynamics = FunctionDynamics(lambda t, z: rate * t * z, [rate])
        >>> len(dynamics.trainable_variables)
        1
    """

    def __init__(self, function: Callable, variables: Sequence[keras.Variable] = (), **kwargs):
        super().__init__(**kwargs)
        if not callable(function):
            raise InvalidTypeError(f"function must be one of (z), (t, z), ..., got {function!r}.")
        for variable in [variables] if hasattr(variables, "dtype") else variables:
            if variable is variables or not isinstance(variable, keras.Variable):
                raise InvalidTypeError(
                    f"variables must be a list of keras.Variable, got {variable!r}: a layer trains "
                    "and saves no others."
                )
        self.function, self.given = function, list(variables)
        self.takes_training = "training" in inspect.signature(function).parameters

    def call(self, *tensors, training=False):
        options = {"training": training} if self.takes_training else {}
        with tf.GradientTape() as tape:
            output = self.function(*tensors, **options)
        given = {id(variable.value) for variable in self.given}
        unknown = [v.name for v in tape.watched_variables() if id(v) not in given]
        if unknown:
            raise InvalidValueError(
                f"The dynamics' function uses the variable {unknown[0]!r}, which the layer would "
                "not train: give FunctionDynamics(function, variables=[...]) all that it uses."
            )
        return output

    def get_config(self):
        raise InvalidValueError(
            "A function as dynamics cannot be saved: write it as a keras.layers.Layer, or save the "
            "weights alone (save_weights)."
        )
