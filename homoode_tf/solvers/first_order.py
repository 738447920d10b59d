# SPDX-License-Identifier: Apache-2.0
"""Gradients that cannot be differentiated once more, and say so."""

from typing import Any

import tensorflow as tf

from homoode_tf.errors import UserError


class SecondDerivativeError(UserError, NotImplementedError):
    """A gradient was differentiated that has no derivative of its own."""


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
