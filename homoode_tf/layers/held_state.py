# SPDX-License-Identifier: Apache-2.0
"""The variables and random numbers of a dynamics, held through a solve and its backward pass."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

# Keras has no public way to ask for the scope around a call, nor to read past its autocast.
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.backend.common.variables import AutocastScope
from tensorflow.python.ops import control_flow_v2_func_graphs as branches

from homoode_tf.errors import InvalidValueError

_OF_CONTROL_FLOW = (
    branches.CondBranchFuncGraph,
    branches.WhileBodyFuncGraph,
    branches.WhileCondFuncGraph,
)


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
        self._is_checked = False

    @contextlib.contextmanager
    def scope(self, values: list[tf.Tensor]) -> Iterator[None]:
        """Within this scope the layer has these values of its variables, and no call changes it.

        Raises:
            InvalidValueError: If a call would change a variable, as batch norm does, reads one past
                the scope, or adds a loss.
        """
        outer = get_stateless_scope()
        pairs = [*zip(self._variables, values, strict=True), *self._seeds]
        scope = _Scope(self._layer.name)
        # Not given to its constructor, which would cast them as the scope around this call says.
        scope.state_mapping = dict(outer.state_mapping) if outer is not None else {}
        scope.state_mapping |= {id(variable): value for variable, value in pairs}
        # Once is enough, and a tape costs time.
        tape = None if self._is_checked else tf.GradientTape()
        with scope, tape or contextlib.nullcontext():
            yield
        seeds = {id(state) for state, _ in self._seeds}
        for variable in scope.updated:
            if id(variable) not in seeds:
                raise InvalidValueError(self._of_change(variable))
        if tape is not None and (read := tape.watched_variables()):
            raise InvalidValueError(_of_reading(self._layer.name, read[0].name))
        self._is_checked = True
        if scope.losses:
            raise InvalidValueError(
                f"The dynamics {self._layer.name!r} adds a loss (add_loss, or a layer's "
                "activity_regularizer) in every evaluation, of which a solve makes many: nothing "
                "would be made of it. Add it to the model outside of the dynamics, or take "
                "kinetic_weight or jacobian_weight of the layer."
            )

    def _of_change(self, variable: keras.Variable) -> str:
        """What is wrong with a variable that changes."""
        parts = self._layer._flatten_layers()
        owners = [p for p in parts if any(v is variable for v in p._non_trainable_variables)]
        if not owners and all(v is not variable for v in self._variables):
            return (
                f"The dynamics {self._layer.name!r} changes the variable {variable.path!r}, which "
                "is none of its own, so that a solve cannot hold it: random numbers would be the "
                "same for ever. Make the layer or the seed generator that has it an attribute of a "
                "keras.layers.Layer, and give that as dynamics."
            )
        owner = owners[0] if owners else self._layer
        if hasattr(owner, "forward_nfe"):
            return (
                f"{owner.name!r}, an implicit layer, cannot be part of the dynamics of another: "
                "put one behind the other, or give both as one dynamics."
            )
        return (
            f"The dynamics' layer {owner.name!r} changes its variable {variable.name!r} in every "
            "evaluation, of which a solve makes many, and its backward pass some again. Give the "
            "dynamics a layer without such a state, GroupNormalization or LayerNormalization "
            "instead of BatchNormalization, say."
        )


class _Scope(keras.StatelessScope):
    """Gives variables the values that are held, and notes what a call would change."""

    def __init__(self, name: str):
        super().__init__(collect_losses=True)
        self._name = name
        self._graph = _current_graph()
        self.updated: list[keras.Variable] = []

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        self.updated.append(update[0])
        super().add_update(update)

    def get_current_value(self, variable: keras.Variable) -> Any:
        value = super().get_current_value(variable)
        if value is not None and self._is_within_function():
            raise InvalidValueError(_of_reading(self._name, variable.path))
        return value

    def _is_within_function(self) -> bool:
        """Whether a function is traced within the call: it would keep the value for later calls."""
        graph = _current_graph()
        while graph is not self._graph and isinstance(graph, _OF_CONTROL_FLOW):
            graph = graph.outer_graph
        return graph is not self._graph


def _current_graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _of_reading(dynamics: str, variable: str) -> str:
    """What is wrong with a variable that is read where its held value does not count."""
    return (
        f"The dynamics {dynamics!r} reads the variable {variable!r} within a tf.function, or "
        "without its being the layer's own: it would keep an old value, and get no gradient. Leave "
        "the decorator out (a solve is compiled as a whole), and make variables by add_weight, or "
        "give them as FunctionDynamics(function, variables=[...])."
    )
