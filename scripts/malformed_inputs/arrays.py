# SPDX-License-Identifier: Apache-2.0
"""What is no batch of images, given to an exported model from a program."""

import random
from collections.abc import Iterator

from scripts.malformed_inputs.case import ARRAYS, ASK, Case
from scripts.malformed_inputs.materials import Materials
from scripts.malformed_inputs.shuffling import forever, in_turn

_SHAPE = (2, 8, 8, 1)
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
_NUMPY_DTYPES = (
    *_DTYPES,
    "object",
    "U3",
    "S2",
    "datetime64[s]",
    "timedelta64[D]",
    "V4",
    "longdouble",
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


def make(materials: Materials, chance: random.Random, count: int) -> list[Case]:
    """Makes `count` cases: two for `ServedModel.predict`, then one for the bare signature.

    Args:
        materials: What they are made from.
        chance: Decides everything.
        count: How many.
    """
    model, signature = _of_the_model(materials, chance), _of_the_signature(materials, chance)
    return in_turn([model, model, signature], count)


def _of_the_model(materials: Materials, chance: random.Random) -> Iterator[Case]:
    for wrong in forever(["dtype", "shape", "kind"], chance):
        if wrong == "dtype":
            dtype, fill = chance.choice(_NUMPY_DTYPES), chance.choice(["zeros", "empty"])
            value = f"np.{fill}({(chance.randrange(5), *_SHAPE[1:])}, '{dtype}')"
        elif wrong == "shape":
            value = f"np.zeros({_wrong_shape(chance)}, np.uint8)"
        else:
            value = chance.choice(_NO_ARRAYS)
        yield Case(
            ARRAYS,
            f"wrong {wrong}",
            ASK,
            [str(materials.saved_model), f"model.predict({value})"],
            names=["images must be uint8 of shape (n, 8, 8, 1), got"],
        )


def _of_the_signature(materials: Materials, chance: random.Random) -> Iterator[Case]:
    """Here the messages are TensorFlow's; that there is one, and no crash, is the question."""
    calls = [
        "serve()",
        "serve(image={0})",
        "serve(images={0}, more={0})",
        "serve(images={0}, images_={0})",
    ]
    sound = f"tf.zeros({_SHAPE}, tf.uint8)"
    for wrong in forever(["dtype", "shape", "value", "call"], chance):
        names = ["images"]
        if wrong == "dtype":
            value = f"tf.zeros({_SHAPE}, tf.{chance.choice(_TENSORFLOW_DTYPES)})"
            names = ["expected to be a uint8 tensor"]
        elif wrong == "shape":
            value = f"tf.zeros({_wrong_shape(chance)}, tf.uint8)"
            names = ["is not compatible with expected shape [?,8,8,1]"]
        elif wrong == "value":
            value = chance.choice(["None", "'a'", "[[1]]", "[[1], [1, 2]]", "object()", "{}", "3"])
        call = chance.choice(calls).format(sound) if wrong == "call" else f"serve(images={value})"
        yield Case(
            ARRAYS,
            f"wrong {wrong} for the signature",
            ASK,
            ["--raw", str(materials.saved_model), call],
            names=names,
        )


def _wrong_shape(chance: random.Random) -> tuple[int, ...]:
    while True:
        shape = tuple(chance.choices([0, 1, 2, 3, 7, 8, 9, 16, 64], k=chance.randrange(7)))
        if shape[1:] != _SHAPE[1:]:
            return shape
