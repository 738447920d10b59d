# SPDX-License-Identifier: Apache-2.0
"""What is no batch of images, given to an exported model from a program."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from homoode_tf.graph_errors import reason_lines
from homoode_tf.predict import PredictionError, ServedModel
from tests.malformed.conftest import examples

_SHAPE = (2, 8, 8, 1)
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_NUMPY_DTYPES = (
    *(*_DTYPES, "object", "U3", "S2", "datetime64[s]", "timedelta64[D]", "V4", "longdouble"),
)
_TENSORFLOW_DTYPES = (*_DTYPES, "bfloat16", "string", "qint8", "quint8")
_NO_ARRAYS = (
    *("None", "'digit.png'", "b'bytes'", "3", "3.5", "True", "object()", "np", "len", "...", "{}"),
    *("[]", "()", "{1, 2}", "{'images': 1}", "range(3)", "iter([1])", "[None]", "['a', 'b']"),
    *("[[1], [1, 2]]", "[np.zeros((8, 8, 1)), np.zeros((8, 8))]", "[[[[0, 1]]], 3]", "[[], [1]]"),
    *("[np.zeros((8, 8, 1), np.uint8), None]", "[object()]", "[[[[1j]]]]", "[np.nan]", "10**400"),
    *("np.nan", "np.uint8(3)", "np.array(None)", "np.array([[1], [1, 2]], object)"),
    *("np.full((2, 8, 8, 1), np.nan)", "np.zeros((2, 8, 8, 1)).tolist()", "type", "Exception()"),
    *("tf.ragged.constant([[1], [1, 2]])", "tf.sparse.from_dense([[0, 1]])", "tf.TensorSpec([1])"),
    *("tf.data.Dataset.range(3)", "tf.constant('digit.png')", "tf.Variable([1.0])"),
    *("np.zeros((2, 8, 8, 1), [('a', 'u1')])", "np.ma.masked", "np.zeros((2, 8, 8, 1)) > 0"),
    # As many bytes as no machine has, but none of them is stored.
    "np.broadcast_to(np.uint8(0), (10**12, 8, 8, 3))",
    "np.broadcast_to(np.float32(0), (10**12, 8, 8, 1))",
)
_SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 7, 8, 9, 16, 64]), max_size=6).map(tuple)
_WRONG_SHAPES = _SHAPES.filter(lambda shape: shape[1:] != _SHAPE[1:])

# For `ServedModel.predict`, Python expressions.
_OF_THE_MODEL = st.one_of(
    st.builds(
        "np.{}({}, '{}')".format,
        st.sampled_from(["zeros", "empty"]),
        st.integers(0, 4).map(lambda count: (count, *_SHAPE[1:])),
        st.sampled_from(_NUMPY_DTYPES),
    ),
    st.builds("np.zeros({}, np.uint8)".format, _WRONG_SHAPES),
    st.sampled_from(_NO_ARRAYS),
)
# For the bare signature, each with what the message names: here the messages are TensorFlow's;
# that there is one, and no crash, is the question.
_SOUND = f"tf.zeros({_SHAPE}, tf.uint8)"
_OF_THE_SIGNATURE = st.one_of(
    st.tuples(
        st.builds(
            f"images=tf.zeros({_SHAPE}, tf.{{}})".format, st.sampled_from(_TENSORFLOW_DTYPES)
        ),
        st.just("expected to be a uint8 tensor"),
    ),
    st.tuples(
        st.builds("images=tf.zeros({}, tf.uint8)".format, _WRONG_SHAPES),
        st.just("is not compatible with expected shape [?,8,8,1]"),
    ),
    st.tuples(
        st.sampled_from(
            [f"images={value}" for value in ("None", "'a'", "[[1]]", "[[1], [1, 2]]", "object()")]
            + ["images={}", "images=3", "", f"image={_SOUND}"]
            + [f"images={_SOUND}, {more}={_SOUND}" for more in ("more", "images_")]
        ),
        st.just("images"),
    ),
)


@pytest.fixture(scope="module")
def model(materials):
    return ServedModel(materials.run / "saved_model")


@examples(few=80)
@given(case=st.one_of(_OF_THE_MODEL, _OF_THE_MODEL, _OF_THE_SIGNATURE))
def test_is_refused_in_one_line(model, case):
    if isinstance(case, tuple):
        serve, (arguments, named) = model._serve, case
        with pytest.raises((TypeError, ValueError, tf.errors.OpError)) as caught:
            eval(f"serve({arguments})", {"np": np, "tf": tf, "serve": serve})
    else:
        named = "images must be uint8 of shape (n, 8, 8, 1), got"
        with pytest.raises((ValueError, PredictionError)) as caught:
            model.predict(eval(case, {"np": np, "tf": tf}))
        assert "\n" not in str(caught.value)
    assert named.lower() in " ".join(reason_lines(caught.value)).lower()
