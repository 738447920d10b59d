# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments, with errors that name them."""

from typing import Any

import tensorflow as tf

from homoode_tf.solvers.ode.stepping import Tensors


def check_state(state: Tensors, norm: str) -> tf.DType:
    """All components share one floating or complex dtype; returns that of time."""
    if not state:
        raise ValueError("initial_state must hold at least one tensor, got none.")
    dtypes = {y.dtype for y in state}
    if len(dtypes) > 1 or not (state[0].dtype.is_floating or state[0].dtype.is_complex):
        names = sorted(d.name for d in dtypes)
        raise TypeError(f"initial_state must be of one floating or complex dtype, got {names}.")
    if norm == "sample" and any(y.shape.rank is None or y.shape.rank < 1 for y in state):
        raise ValueError(
            "step_control='sample' needs a leading batch dimension in every component of "
            f"initial_state, got shapes {[y.shape for y in state]}."
        )
    return state[0].dtype.real_dtype


def check_derivative(derivative: Any, initial_state: Any, flat_state: Tensors) -> Tensors:
    """The derivative, flat, in the dtype of the integration."""
    try:
        tf.nest.assert_same_structure(initial_state, derivative)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "ode_fn must return the structure of initial_state, got another one."
        ) from error
    result = []
    for k, y in zip(tf.nest.flatten(derivative), flat_state, strict=True):
        k = tf.cast(tf.convert_to_tensor(k), y.dtype)
        if not k.shape.is_compatible_with(y.shape):
            raise ValueError(
                f"ode_fn must return the shapes of its state: got {k.shape} for {y.shape}."
            )
        result.append(k)
    return result
