# SPDX-License-Identifier: Apache-2.0
"""The ONNX format: tf2onnx as converter, onnxruntime as interpreter."""

import os
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from homoode_tf.errors import InvalidValueError
from homoode_tf.graph_errors import reason_lines

PACKAGES = ("onnx", "onnxruntime", "tf2onnx")
EXTRA = "onnx"
OPSET = 17
# As ONNX numbers them: float, double.
_FLOATS = (1, 11)
# The functions that an operation hands its inputs to, and how many of these it keeps for itself.
_FUNCTIONS = {
    "If": (("then_branch", "else_branch"), 1),
    "StatelessIf": (("then_branch", "else_branch"), 1),
    "While": (("cond", "body"), 0),
    "StatelessWhile": (("cond", "body"), 0),
}


def translate(saved_model: str | os.PathLike, key: str) -> bytes:
    """Translates a signature of a SavedModel into the standard operations of ONNX opset 17."""
    import onnx
    from tf2onnx import optimizer, tf_loader, tfonnx

    # Kept as a whole: the signature alone does not keep the variables alive.
    loaded = tf.saved_model.load(os.fspath(saved_model))
    serve = loaded.signatures[key]
    inputs = [x.name for x in serve.inputs if x.dtype != tf.resource]
    outputs = [x.name for x in serve.outputs]
    # Both lists are in the order of the names.
    names = dict(zip(inputs, sorted(serve.structured_input_signature[1]), strict=True))
    names.update(zip(outputs, sorted(serve.structured_outputs), strict=True))
    frozen = tf_loader.from_function(serve, inputs, outputs)
    _state_shapes(frozen)
    try:
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(frozen, name="")
            translated = tfonnx.process_tf_graph(
                graph,
                opset=OPSET,
                input_names=inputs,
                output_names=outputs,
                tensors_to_rename=names,
                custom_rewriter=[_select_exactly],
            )
            model = optimizer.optimize_graph(translated).make_model("classifier")
        onnx.checker.check_model(model)
    except Exception as error:  # tf2onnx raises errors of any type.
        raise InvalidValueError(reason_lines(error)[0]) from None
    return model.SerializeToString()


def load(path: pathlib.Path, _: str, name: str) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function from the input of a name to outputs by name by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda batch: dict(zip(names, session.run(names, {name: batch}), strict=True))


def _select_exactly(graph, nodes) -> list:
    """Asks tf2onnx to translate tf.where of floats by ONNX's own Where.

    By default (1.17) it multiplies by 0 what is not selected, because that is faster, and so makes
    NaN of the infinity of a rejected step.
    """
    for node in nodes:
        if node.type == "SelectV2" and graph.get_dtype(node.output[0]) in _FLOATS:
            node.set_attr("handles_nan", True)
    return nodes


def _state_shapes(graph_def) -> None:
    """Writes the shapes of their arguments into the functions of loops and branches.

    TensorFlow's optimizer leaves unknown ones there, and tf2onnx (1.17) counts those of a branch
    from the predicate, off by one. A convolution's kernel must have a known shape.
    """
    functions = {function.signature.name: function for function in graph_def.library.function}
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        graphs = [graph]
        while graphs:
            for operation in graphs.pop().get_operations():
                attributes, kept = _FUNCTIONS.get(operation.type, ((), 0))
                for attribute in attributes:
                    function = functions[operation.get_attr(attribute).name]
                    for index, argument in enumerate(operation.inputs[kept:]):
                        shapes = function.arg_attr[index].attr["_output_shapes"].list
                        shapes.ClearField("shape")
                        shapes.shape.append(argument.shape.as_proto())
                    graphs.append(function_def_to_graph(function))
