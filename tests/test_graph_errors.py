# SPDX-License-Identifier: Apache-2.0
import pytest
import tensorflow as tf

from homoode_tf.graph_errors import reason_lines


def test_an_error_within_a_graph():
    @tf.function
    def fail(x):
        return tf.debugging.check_numerics(x, "no number here")

    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        fail(tf.constant(float("nan")))
    lines = reason_lines(error.value)
    assert lines[0].startswith("no number here : Tensor had NaN values")
    assert not any("File" in line or "Detected" in line for line in lines)


def test_texts():
    assert reason_lines(ValueError("a  b\n\nc")) == ["a b", "c"]
    assert reason_lines(KeyError()) == ["KeyError"]
