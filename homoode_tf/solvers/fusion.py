# SPDX-License-Identifier: Apache-2.0
"""Elementwise arithmetic in one pass over the memory, by XLA, where that pays."""

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable, Iterator

import tensorflow as tf

from homoode_tf.solvers import tracing

# Smaller tensors stay in a cache, where passes cost little and the start of a compiled piece more.
_SMALLEST_SIZE = 2**17
# What a batch of a size that is not known counts as.
_TYPICAL_BATCH = 32

_ALLOWED: contextvars.ContextVar[bool] = contextvars.ContextVar("fusion_allowed", default=True)


@contextlib.contextmanager
def plain_operations() -> Iterator[None]:
    """What is traced within this scope has no compiled pieces, and can be converted."""
    token = _ALLOWED.set(False)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def pays(tensor: tf.Tensor) -> bool:
    """Whether arithmetic on tensors such as this is worth a piece of its own."""
    if tf.executing_eagerly() or not _ALLOWED.get() or tensor.shape.rank in (None, 0):
        return False
    batch, *sizes = tensor.shape
    large = all(sizes) and math.prod(sizes) * (batch or _TYPICAL_BATCH) >= _SMALLEST_SIZE
    return large and not tracing.keras_export()  # as `plain_operations`


def fused(fn: Callable) -> Callable:
    """Compiles a function that does elementwise arithmetic, for tensors with which that pays.

    Its arguments are tensors, the largest first, and by name what can be hashed. A gradient through
    it is compiled too, and is slow where it sums over large tensors.
    """
    compiled: Callable = tf.function(fn, jit_compile=True, autograph=False)

    @functools.wraps(fn)
    def call(*tensors: tf.Tensor, **options: object):
        return (compiled if pays(tensors[0]) else fn)(*tensors, **options)

    return call


def with_gradient(plain: Callable, forward: Callable, backward: Callable) -> Callable:
    """A function that is computed, and differentiated once, by code of its own.

    Args:
      plain: The function in plain operations, by which it is differentiated twice or more.
      forward: The function, which returns its value and the tensors that `backward` needs beside
        the arguments.
      backward: backward(saved, cotangent, *arguments) gives the cotangents of all arguments.

    Returns:
      A function of the same arguments, all of them floating tensors, which gives its value and what
      was saved; through this no gradient goes.
    """

    def gradients(*tensors_and_cotangent):
        *tensors, cotangent = tensors_and_cotangent
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = plain(*tensors)
        return tape.gradient(value, tensors, cotangent, unconnected_gradients="zero")

    @tf.custom_gradient
    def function(*tensors):
        value, saved = forward(*tensors)

        def grad(cotangent, *_):
            mine, kept = tracing.local([tensors, saved])

            @tf.custom_gradient
            def first(*arguments):
                *inner, last = arguments

                def second(*cotangents):
                    with tf.GradientTape() as tape:
                        tape.watch(arguments)
                        results = gradients(*arguments)
                    return tape.gradient(
                        results, arguments, list(cotangents), unconnected_gradients="zero"
                    )

                return backward(kept, last, *inner), second

            return first(*mine, cotangent)

        return (value, *saved), grad

    return function
