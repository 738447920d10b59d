# SPDX-License-Identifier: Apache-2.0
"""Two runs that are equal bit for bit."""

from collections.abc import Sequence

import tensorflow as tf
from tensorflow.python.ops import gen_math_ops  # where gradients are summed; not public

_add_n = gen_math_ops.add_n


def enable() -> None:
    """Makes TensorFlow compute the same bits whenever it is given the same.

    TensorFlow's own switch is not enough on a CPU (2.21): the order in which `AddN` sums three
    or more tensors depends on which of their buffers no other operation needs any more, and so
    on timing; with one thread too, because the executor orders operations by how long they took.
    Each gradient of a tensor with three uses is such a sum, and the graph's arithmetic optimiser
    makes more of them. So this replaces the sum by one of pairs, in order, and turns that
    optimiser off. Operations still run side by side.

    Call it first: functions traced before stay as they are.
    """
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})
    gen_math_ops.add_n = _add_in_order


def _add_in_order(inputs: Sequence[tf.Tensor], name: str | None = None) -> tf.Tensor:
    if len(inputs) < 3 or inputs[0].dtype == tf.variant:
        return _add_n(inputs, name=name)  # lists of tensors (variants) are summed in order there
    total = inputs[0]
    for addend in inputs[1:]:
        total = tf.raw_ops.AddV2(x=total, y=addend)
    return total
