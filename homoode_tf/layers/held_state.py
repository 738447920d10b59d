# SPDX-License-Identifier: Apache-2.0
"""The state of a dynamics, its randomness above all, held through a solve and its backward pass."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

# Keras has no public way to ask for the scope around a call.
from keras.src.backend.common.stateless_scope import get_stateless_scope

from homoode_tf.errors import InvalidValueError


class HeldState:
    """Lets a layer answer the same to the same arguments, however often it is called.

    An ODE, and a fixed point, is only defined if its right side does not change between
    evaluations, and a backward pass makes some of them once more. So each seed generator within the
    layer (that of every Keras layer that draws random numbers) is advanced once, when this object
    is made, and gives the same numbers in every evaluation within `scope`.

    Args:
        layer: The dynamics, built.
        training: Whether it runs in training mode; otherwise nothing is drawn.

    Example:
        >>> dropout = keras.layers.Dropout(0.5)
        >>> held = HeldState(dropout, training=True)
        >>> with held.scope():
        ...     first = dropout(tf.ones([8]), training=True)
        >>> with held.scope():
        ...     again = dropout(tf.ones([8]), training=True)
        >>> bool(tf.reduce_all(first == again))
        True
    """

    def __init__(self, layer: keras.layers.Layer, training: bool):
        self._layer = layer
        parts = layer._flatten_layers() if training else []
        generators = {id(g): g for part in parts for g in part._seed_generators}
        self._seeds = [(g.state, tf.convert_to_tensor(g.next())) for g in generators.values()]

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Within this scope the layer's state is what it was at first, and no call changes it.

        Raises:
            InvalidValueError: If a call would change another variable, as batch norm does.
        """
        outer = get_stateless_scope()
        with keras.StatelessScope(self._seeds) as scope:
            if outer is not None:
                scope.state_mapping = {**outer.state_mapping, **scope.state_mapping}
            before = set(scope.state_mapping)
            yield
        for part in self._layer._flatten_layers():
            for variable in part._non_trainable_variables:
                if id(variable) in scope.state_mapping.keys() - before:
                    raise InvalidValueError(
                        f"The dynamics' layer {part.name!r} changes its variable "
                        f"{variable.name!r} in every evaluation, of which a solve makes many, and "
                        "its backward pass some again. Give the dynamics a layer without such a "
                        "state, GroupNormalization or LayerNormalization instead of "
                        "BatchNormalization, say."
                    )
