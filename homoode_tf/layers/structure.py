# SPDX-License-Identifier: Apache-2.0
"""Inputs and states of several tensors: nests (lists, tuples, dicts), checked where they enter."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from homoode_tf.errors import InvalidTypeError, InvalidValueError

map_shapes = keras.tree.map_shape_structure


def is_nest_of_shapes(shapes: Any) -> bool:
    """Whether it is no single shape."""
    return isinstance(shapes, dict) or any(isinstance(s, (dict, list, tuple)) for s in shapes)


def flat_shapes(shapes: Any) -> list[tuple]:
    """The shapes of a nest of them, in the order of its tensors."""
    return [tuple(x.shape) for x in tf.nest.flatten(symbolic(shapes, "float32"))]


def shapes(nest: Any) -> Any:
    """The shapes of a nest of tensors, as tuples."""
    return tf.nest.map_structure(lambda x: tuple(x.shape), nest)


def symbolic(shapes: Any, dtype: str) -> Any:
    """Keras tensors of a nest of shapes."""
    return map_shapes(lambda shape: keras.KerasTensor(shape, dtype), shapes)


def as_tensors(inputs: Any) -> Any:
    """Returns inputs as a tensor or, where they hold arrays, as a nest of tensors.

    Raises:
        InvalidTypeError: If they are complex, ragged or sparse, or a nest holds tensors that are
            not floating.
        InvalidValueError: As of `check_batches`.
    """
    for leaf in tf.nest.flatten(inputs):
        if isinstance(leaf, (tf.RaggedTensor, tf.SparseTensor)):
            raise InvalidTypeError(
                f"inputs must be dense, got a {type(leaf).__name__}: use to_tensor() or "
                "tf.sparse.to_dense, and a mask for what was added."
            )
        refuse_complex("inputs", leaf)
    arrays = [getattr(leaf, "shape", ()) != () for leaf in tf.nest.flatten(inputs)]
    if not (tf.nest.is_nested(inputs) and any(arrays)):
        return tf.convert_to_tensor(inputs)
    tensors = tf.nest.map_structure(tf.convert_to_tensor, inputs)
    for name, x in _named(tensors):
        if not x.dtype.is_floating:
            raise InvalidTypeError(
                f"The tensors of a nested input must be floating, but {name} is {x.dtype.name}: "
                "cast it, or embed it in a layer before this one."
            )
    check_batches(shapes(tensors))
    return tensors


def check_batches(shapes: Any) -> None:
    """Checks that tensors of these shapes belong to one batch.

    Raises:
        InvalidValueError: If one has no batch dimension, or another than the others'.
    """
    sizes = {}
    for name, x in _named(symbolic(shapes, "float32")):
        if not x.shape:
            raise InvalidValueError(f"{name} must have a batch dimension, got a scalar.")
        if x.shape[0] is not None:
            sizes[name] = x.shape[0]
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} has {size}" for name, size in sizes.items())
        raise InvalidValueError(f"The tensors of a nested input must have one batch size: {found}.")


def refuse_complex(name: str, x: Any) -> None:
    """Refuses what would lose its imaginary part in a layer, whose states are real.

    Raises:
        InvalidTypeError: If it is complex.
    """
    if "complex" in str(getattr(x, "dtype", "")):
        raise InvalidTypeError(
            f"{name} must be real, got {tf.as_dtype(x.dtype).name}, as a layer's state is. Give "
            "the real and the imaginary part as channels, or solve by homoode_tf.solvers."
        )


def check_digits(inputs: Any, dtype: str) -> None:
    """Refuses integers that a layer's compute dtype of half precision would round.

    Raises:
        InvalidTypeError: If there may be such: of more than eight bits.
    """
    for x in tf.nest.flatten(inputs):
        if x.dtype.is_integer and x.dtype.size > 1 and tf.as_dtype(dtype).size < 4:
            raise InvalidTypeError(
                f"{dtype} rounds inputs of {x.dtype.name}: embed them in a layer before this one, "
                "cast them to float32 if few digits suffice, or give the layer dtype='float32'."
            )


def check_channels(name: str, shape: Any) -> None:
    """Checks that there is an axis of channels, which is not that of the batch.

    Raises:
        InvalidValueError: If there is none.
    """
    if len(shape) < 2:
        raise InvalidValueError(
            f"{name} needs inputs of shape (batch, ..., channels), got {tuple(shape)}: reshape "
            "them to (batch, 1)."
        )


def _named(nest: Any) -> list[tuple[str, Any]]:
    """The leaves of a nest, each with its place as a user would write it."""
    pairs = keras.tree.flatten_with_path(nest)
    return [("inputs" + "".join(f"[{key!r}]" for key in path), leaf) for path, leaf in pairs]


def matched(output: Any, state: Any, name: str) -> list[tf.Tensor]:
    """Returns the flat tensors that a dynamics gave for a state.

    Raises:
        InvalidValueError: If they are not of the state's structure and shapes.
    """
    pairs = [keras.tree.flatten_with_path(each) for each in (output, state)]
    found, expected = ([path for path, _ in each] for each in pairs)
    fits = found == expected and all(
        hasattr(k, "shape") and tf.TensorShape(k.shape).is_compatible_with(tuple(z.shape))
        for (_, k), (_, z) in zip(*pairs, strict=True)
    )
    if not fits:
        wanted = "a tensor of the state's shape"
        if tf.nest.is_nested(state):
            wanted = "tensors of the state's structure and shapes,"
        given = tf.nest.map_structure(lambda k: tuple(getattr(k, "shape", (k,))), output)
        raise InvalidValueError(
            f"The dynamics must return {wanted} {shapes(state)}, but {name!r} returned {given}. "
            "Change its last layer, or the number of channels before this layer."
        )
    return tf.nest.flatten(output)


def join(nest: Any) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
    """A nest of tensors as one of shape (batch, n), and what makes the nest of such a one."""
    if not tf.nest.is_nested(nest):
        return nest, lambda x: x
    tensors = tf.nest.flatten(nest)
    sizes = [y.shape[1:].num_elements() for y in tensors]
    pairs = zip(sizes, tensors, strict=True)
    sizes = [tf.reduce_prod(tf.shape(y)[1:]) if size is None else size for size, y in pairs]

    def split(vector: tf.Tensor) -> Any:
        parts = []
        for part, y in zip(tf.split(vector, sizes, axis=1), tensors, strict=True):
            # Not tf.ensure_shape, which forward-mode differentiation (2.21) fails at.
            parts.append(tf.reshape(part, tf.shape(y)))
            parts[-1].set_shape(y.shape)
        return tf.nest.pack_sequence_as(nest, parts)

    batch = tf.shape(tensors[0])[0]
    flat = [tf.reshape(y, [batch, size]) for y, size in zip(tensors, sizes, strict=True)]
    return tf.concat(flat, axis=1), split
