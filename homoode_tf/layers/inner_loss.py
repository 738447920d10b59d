# SPDX-License-Identifier: Apache-2.0
"""Losses of a layer that is called within a loop or a branch which they cannot leave."""

from typing import Any

import tensorflow as tf
from tensorflow.python.ops.control_flow_v2_func_graphs import (
    CondBranchFuncGraph,
    WhileBodyFuncGraph,
)


def is_within_control_flow() -> bool:
    """Whether the layer runs in a branch or, as in `keras.layers.RNN`, in the body of a loop.

    A function within either, a whole training step say, counts as outside of it.
    """
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    return isinstance(graph, (CondBranchFuncGraph, WhileBodyFuncGraph))


def attach(x: Any, losses: list[tf.Tensor]) -> Any:
    """Returns a nest of tensors, whose gradient brings that of the losses with it.

    They are trained as if they had been added, but no model's `losses` shows them.
    """
    flat = tf.nest.flatten(x)

    @tf.custom_gradient
    def attached(*tensors):
        ones = [tf.ones_like(v) for v in losses]
        return [tf.identity(y) for y in tensors[: len(flat)]], lambda *c: (*c, *ones)

    return tf.nest.pack_sequence_as(x, attached(*flat, *losses))
