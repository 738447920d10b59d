# SPDX-License-Identifier: Apache-2.0
"""Gradients that cannot be differentiated once more, and say so."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from homoode_tf.errors import UserError


class SecondDerivativeError(UserError, NotImplementedError):
    """A gradient was differentiated that has no derivative of its own."""


def once_differentiable(mode: str, tensors: Sequence[tf.Tensor], advice: str) -> list[tf.Tensor]:
    """Returns the tensors, through which gradients go that have no derivative of their own."""

    @tf.custom_gradient
    def identity(*tensors):
        def grad(*cotangents):
            # Of zero, so that they depend on what they would be differentiated by.
            tied = [c + (x - x) for c, x in zip(cotangents, tensors, strict=True)]
            return first_order_only(mode, tied, advice)

        return [tf.identity(x) for x in tensors], grad

    return list(identity(*tensors))


def first_order_only(mode: str, gradients: Any, advice: str) -> Any:
    """Lets the gradients through, and refuses to differentiate them once more, with an advice."""

    @tf.custom_gradient
    def identity(*tensors):
        def grad(*_):
            raise SecondDerivativeError(f"gradient={mode!r} has no second derivatives; {advice}.")

        return [tf.identity(x) for x in tensors], grad

    flat = tf.nest.flatten(gradients)
    guarded = iter(identity(*[g for g in flat if g is not None]))
    return tf.nest.pack_sequence_as(gradients, [g if g is None else next(guarded) for g in flat])
