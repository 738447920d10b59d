# SPDX-License-Identifier: Apache-2.0
"""A HomoODE that learns where the equilibria are, without ever evaluating g."""

import keras
import numpy as np
import tensorflow as tf

from homoode_tf.layers import HomoODE
from homoode_tf.plot import Solve, follow
from scripts.two_sides.problem import RotatingMap, draw_conditions
from scripts.two_sides.ways import recorded

TOLERANCE = 1e-3
WIDTH = 32
NUM_TRAINING = 4096
NUM_HELD_OUT = 1024
BATCH_SIZE = 128
EPOCHS = 120
# Where the initial point is before it learns.
FIRST_START = (1.0, -1.0)
LEARNING_RATE = 0.01
_TRAINING_SEED, _HELD_OUT_SEED = 0, 1


class DenseDynamics(keras.layers.Layer):
    """F(z; x) = W3 tanh(W2 tanh(W1 [z, x] + b1) + b2) + b3, with two hidden layers of `WIDTH`.

    Call arguments:
        z: State, float tensor of shape (batch, 2).
        x: Condition, of the same shape.

    Returns:
        dz/dt, of the same shape.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        dtype = self.dtype_policy
        self.network = keras.Sequential(
            [
                keras.layers.Dense(WIDTH, "tanh", dtype=dtype),
                keras.layers.Dense(WIDTH, "tanh", dtype=dtype),
                keras.layers.Dense(2, dtype=dtype),
            ]
        )

    def build(self, z_shape, x_shape):
        self.network.build((None, z_shape[-1] + x_shape[-1]))

    def call(self, z, x):
        return self.network(tf.concat([z, x], axis=-1))

    def compute_output_shape(self, z_shape, x_shape):
        return z_shape


def samples(number: int, seed: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Conditions and their equilibria, by Newton-Krylov to 1e-12; both of shape (number, 2)."""
    conditions = draw_conditions(number, seed)
    g = RotatingMap(factor, conditions)
    results, _ = recorded(g, np.zeros_like(conditions), 1e-12, "newton_krylov")
    if not results.success:
        raise ArithmeticError(f"Some of the equilibria of seed {seed} were not found.")
    return conditions, results.state.numpy()


def held_out(factor: float, number: int = NUM_HELD_OUT) -> tuple[np.ndarray, np.ndarray]:
    """The same for conditions that no training has seen."""
    return samples(number, _HELD_OUT_SEED, factor)


def train(factor: float, epochs: int = EPOCHS, seed: int = 0) -> HomoODE:
    """Trains z(1) = z*(x) in the mean square, at rtol = atol = 1e-3, in float32.

    The initial point learns by its own loss, which `fit` adds.

    Args:
        factor: Of the map whose equilibria are learnt.
        epochs: Number of epochs.
        seed: Of the weights and the order of the samples.
    """
    keras.utils.set_random_seed(seed)
    conditions, equilibria = samples(NUM_TRAINING, _TRAINING_SEED, factor)
    layer = HomoODE(DenseDynamics(), rtol=TOLERANCE, atol=TOLERANCE, gradient="backprop")
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.initial_point.value.assign(FIRST_START)
    steps = epochs * NUM_TRAINING // BATCH_SIZE
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(keras.optimizers.Adam(rate), "mse", jit_compile=False)
    model.fit(conditions, equilibria, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return layer


def in_float64(layer: HomoODE, tolerance: float = TOLERANCE, final_time: float = 1.0) -> HomoODE:
    """The same weights in float64, with another tolerance or final time.

    At the training's tolerance the solver begins with the step size that the training remembers;
    at others that would mislead, and the solver chooses it.
    """
    other = HomoODE(
        DenseDynamics(dtype="float64"),
        rtol=tolerance,
        atol=tolerance,
        final_time=final_time,
        dtype="float64",
    )
    other.build((None, 2))
    other.set_weights(layer.get_weights())
    other.step_size.assign(layer.step_size if tolerance == TOLERANCE else 0.0)
    return other


def follow_one(layer: HomoODE, condition: np.ndarray) -> Solve:
    """The solve for one condition of shape (2,), alone in its batch, with its whole way."""
    return follow(layer, tf.constant(np.asarray(condition)[np.newaxis]), num_times=201)


def errors(layer: HomoODE, conditions: np.ndarray, equilibria: np.ndarray) -> np.ndarray:
    """Euclidean distances of z(1) from the equilibria, of shape (number,).

    Each condition is solved with steps of its own, as if it were alone.
    """
    by_sample = layer.solver.replace(step_control="sample")
    ends = layer.solve(conditions, solver=by_sample).final_state
    return np.linalg.norm(ends - equilibria, axis=1)
