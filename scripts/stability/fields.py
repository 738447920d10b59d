# SPDX-License-Identifier: Apache-2.0
"""The dynamics of a trained layer for some images, and states on the way through it."""

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from homoode_tf.layers import ODELayer
from scripts.stability.answers import solver_of_each

Field = Callable[[tf.Tensor], tf.Tensor]


def along_the_way(
    model: keras.Model, images: np.ndarray, shares: Sequence[float]
) -> Iterator[tuple[Field, tf.Tensor]]:
    """Yields z -> F(t, z; x) and the state z(t), for t at these shares of T, increasing.

    Of a deq it yields once z -> g(z; x) and its fixed point.
    """
    layer = model.implicit
    inputs = layer.prepare(model.condition(tf.constant(images)))
    if not isinstance(layer, ODELayer):
        state = layer.solve(inputs).final_state
        bind, constants = layer.bind_dynamics(inputs, state, False)
        bound = bind(constants)
        yield lambda z: tf.cast(bound(None, [z])[0], z.dtype), state
        return
    problem = layer.problem(inputs)
    for share in shares:
        time, (state,) = share * layer.final_time, problem.initial_state
        if time:
            state = layer.solve(inputs, times=[time], solver=_solver(layer, share)).final_state
        yield lambda z, t=time: problem.field(tf.constant(t, z.dtype), [z])[0], state


def residual(field: Field, state: tf.Tensor, is_map: bool) -> tf.Tensor:
    """Of each sample the root mean square of F(z), or of g(z) - z where the field is a map g."""
    slopes = field(state) - (state if is_map else 0.0)
    flat = tf.reshape(slopes, (slopes.shape[0], -1))
    return tf.sqrt(tf.reduce_mean(flat**2, axis=1))


def _solver(layer: ODELayer, share: float):
    """Equal steps stay as long as they are: seven of them are two in a quarter of the time."""
    if layer.solver.adaptive:
        return solver_of_each(layer)
    steps = layer.solver.get_config()["num_steps"]
    return solver_of_each(layer, num_steps=max(1, round(share * steps)))
