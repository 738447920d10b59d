# SPDX-License-Identifier: Apache-2.0
"""Which of TensorFlow's transformations is running the code that asks."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import forwardprop_util

# TensorFlow has no public way to ask whether XLA will compile a graph.
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext

# Nor, in which graph it gathers the gradient of a loop.
from tensorflow.python.ops.while_v2 import _WhileBodyGradFuncGraph

from homoode_tf.errors import UserError


class TransformationError(UserError, NotImplementedError):
    """A transformation of TensorFlow's that a gradient mode cannot go through."""


def local(tensors: Any) -> Any:
    """Returns a nest of tensors anew, for a tape within the gradient of a function to watch.

    There they are captured from the function's graph, the second time by what the first has left:
    of that a tape would not know, and its gradients would be zero.
    """
    return tf.nest.map_structure(tf.identity, tensors)


def is_vectorizing() -> bool:
    """Whether the code runs under `tf.vectorized_map` or within a Jacobian.

    They give the operations of one iteration this name; functions called there are traced within.
    """
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        if "loop_body" in graph.get_name_scope().split("/"):
            return True
        graph = getattr(graph, "outer_graph", None)
    return False


def is_compiled() -> bool:
    """Whether XLA will compile the graph that is being made."""
    return GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def refuse_forward_mode(tensors: Sequence[tf.Tensor]) -> None:
    """Refuses a loop in a graph where forward mode follows one of the tensors that go into it.

    TensorFlow (2.21) fails there at variables, with an internal error.
    """
    if not tf.executing_eagerly() and forwardprop_util.pack_tangents(list(tensors)).tangents:
        raise TransformationError(
            "tf.autodiff.ForwardAccumulator cannot follow a solve in a graph. Use it eagerly, with "
            "gradient='backprop', or a tf.GradientTape."
        )


@contextlib.contextmanager
def refuse_captures_in_loops(advice: str) -> Iterator[None]:
    """Refuses, within the gradient of a foreign loop, what a scope captures from outside of it.

    TensorFlow (2.21) fails at that when the gradient is done, with an internal error.
    """
    graph = tf.compat.v1.get_default_graph()
    if tf.executing_eagerly() or not isinstance(graph, _WhileBodyGradFuncGraph):
        yield
        return
    before = {id(inner) for _, inner in graph.captures}
    yield
    for outer, inner in graph.captures:
        unknown = id(inner) not in before and id(inner) not in graph.internal_capture_to_output
        if unknown and hasattr(outer, "numpy"):
            what = "variable" if outer.dtype == tf.resource else f"tensor of shape {outer.shape}"
            raise TransformationError(
                f"Within tf.map_fn, tf.while_loop or a recurrent layer the function uses a {what} "
                f"from outside of it, where this gradient cannot find it. {advice}"
            )


def keras_export() -> str | None:
    """Which export of a Keras model traces the code that asks: "saved_model", "onnx", ...; or None.

    Nothing but the way of the call tells. One export may use another: the outer one counts.
    """
    found, frame = None, None if tf.executing_eagerly() else sys._getframe(1)
    while frame is not None:
        names = str(frame.f_globals.get("__name__")).split(".")
        if names[:3] == ["keras", "src", "export"]:
            found = names[-1]
        frame = frame.f_back
    return found


def is_exporting_gradient() -> bool:
    """Whether `tf.saved_model.save` is tracing a custom gradient, as a function of its own.

    It gives the function that TensorFlow makes of a custom gradient's name to its graph.
    """
    graph = tf.compat.v1.get_default_graph()
    return not tf.executing_eagerly() and getattr(graph, "name", "") == "internal_grad_fn"
