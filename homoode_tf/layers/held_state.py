# SPDX-License-Identifier: Apache-2.0
"""The variables and random numbers of a dynamics, held through a solve and its backward pass."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

# Keras has no public way to ask for the scope around a call, nor to read past its autocast.
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.backend.common.variables import AutocastScope

from homoode_tf.errors import InvalidValueError


class HeldState:
    """Lets a layer answer the same to the same arguments, however often it is called.

    An ODE, and a fixed point, is only defined if its right side does not change between
    evaluations, and a backward pass makes some of them once more. So each seed generator within the
    layer (that of every Keras layer that draws random numbers) is advanced once, when this object
    is made, and gives the same numbers in every evaluation within `scope`.

    The layer's variables are read then, too, and a backward pass differentiates by these tensors:
    within a loop that is not ours (that of `keras.layers.RNN`) it could not read variables.

    Args:
        layer: The dynamics, built.
        training: Whether it runs in training mode; otherwise nothing is drawn.

    Attributes:
        values: The tensors that were read, to be given to `scope`.

    Example:
        >>> dropout = keras.layers.Dropout(0.5)
        >>> held = HeldState(dropout, training=True)
        >>> with held.scope(held.values):
        ...     first = dropout(tf.ones([8]), training=True)
        >>> with held.scope(held.values):
        ...     again = dropout(tf.ones([8]), training=True)
        >>> bool(tf.reduce_all(first == again))
        True
    """

    def __init__(self, layer: keras.layers.Layer, training: bool):
        self._layer = layer
        parts = layer._flatten_layers() if training else []
        generators = {id(g): g for part in parts for g in part._seed_generators}
        self._seeds = [(g.state, tf.convert_to_tensor(g.next())) for g in generators.values()]
        states = {id(g.state) for g in generators.values()}
        self._variables = [v for v in layer.variables if id(v) not in states]
        with AutocastScope(None):
            self.values = [tf.convert_to_tensor(v.value) for v in self._variables]

    @contextlib.contextmanager
    def scope(self, values: list[tf.Tensor]) -> Iterator[None]:
        """Within this scope the layer has these values of its variables, and no call changes it.

        Raises:
            InvalidValueError: If a call would change one of them, as batch norm does.
        """
        outer = get_stateless_scope()
        pairs = [*zip(self._variables, values, strict=True), *self._seeds]
        scope = keras.StatelessScope()
        # Not given to its constructor, which would cast them as the scope around this call says.
        scope.state_mapping = dict(outer.state_mapping) if outer is not None else {}
        scope.state_mapping |= {id(variable): value for variable, value in pairs}
        before = dict(scope.state_mapping)
        with scope:
            yield
        for variable in self._variables:
            if scope.state_mapping[id(variable)] is not before[id(variable)]:
                raise InvalidValueError(
                    f"The dynamics' layer {self._owner(variable)!r} changes its variable "
                    f"{variable.name!r} in every evaluation, of which a solve makes many, and "
                    "its backward pass some again. Give the dynamics a layer without such a "
                    "state, GroupNormalization or LayerNormalization instead of "
                    "BatchNormalization, say."
                )

    def _owner(self, variable: keras.Variable) -> str:
        parts = self._layer._flatten_layers()
        owns = (p.name for p in parts if any(v is variable for v in p._non_trainable_variables))
        return next(owns, self._layer.name)
