# SPDX-License-Identifier: Apache-2.0
"""Losses of a layer that is called within a loop which they cannot leave."""

import tensorflow as tf
from tensorflow.python.ops.control_flow_v2_func_graphs import (
    CondBranchFuncGraph,
    WhileBodyFuncGraph,
)


def is_within_loop() -> bool:
    """Whether the layer runs in the body of a `tf.while_loop`, as in `keras.layers.RNN`.

    A function within the loop, a whole training step say, counts as outside of it.
    """
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while isinstance(graph, CondBranchFuncGraph):
        graph = graph.outer_graph
    return isinstance(graph, WhileBodyFuncGraph)


def attach(x: tf.Tensor, losses: list[tf.Tensor]) -> tf.Tensor:
    """Returns x, whose gradient brings that of the losses with it, as if they had been added.

    They are trained so, but no model's `losses` shows them.
    """

    @tf.custom_gradient
    def attached(x, *losses):
        return tf.identity(x), lambda cotangent: (cotangent, *[tf.ones_like(v) for v in losses])

    return attached(x, *losses)
