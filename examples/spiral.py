# SPDX-License-Identifier: Apache-2.0
"""A Neural ODE that learns the law of motion of a spiral from noisy observations.

    python -m examples.spiral [--epochs 60] [--picture spiral.png]

Short pieces of one noisy spiral are cut out; a `NeuralODE` is told where a piece begins and learns
to say where it is at the times that follow. Then it draws the whole spiral from its first point.
The law is z' = A z^3 (element by element), which the network does not know.
"""

import argparse
import pathlib

import keras
import numpy as np
import tensorflow as tf

from homoode_tf import solvers
from homoode_tf.layers import DenseDynamics, NeuralODE
from homoode_tf.report import style

LAW = tf.constant([[-0.1, 2.0], [-2.0, -0.1]])
START = tf.constant([2.0, 0.0])
LENGTH, INTERVAL, NOISE = 10, 0.025, 0.005


def observe(end: float = 25.0) -> np.ndarray:
    """The true spiral at equal intervals, of shape (times, 2)."""
    times = np.arange(0.0, end, INTERVAL)[1:].tolist()
    law = lambda t, z: tf.linalg.matvec(LAW, z**3)  # noqa: E731
    return solvers.get("dopri5", rtol=1e-6).solve(law, 0.0, START, times).states.numpy()


def main(arguments: list[str] | None = None) -> float:
    """Trains, draws, and returns the root mean square error of the whole spiral."""
    parser = argparse.ArgumentParser(prog="python -m examples.spiral")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)

    truth = observe()
    noisy = truth + np.random.default_rng(0).normal(0.0, NOISE, truth.shape).astype(np.float32)
    starts = noisy[:-LENGTH]
    pieces = np.stack([noisy[n : n + len(starts)] for n in range(1, LENGTH + 1)], axis=1)

    # The field sees z^3, as a physicist might guess; what is learned is all that follows.
    inputs = keras.Input((2,))
    field = keras.Model(inputs, DenseDynamics(2, hidden_units=64)(inputs**3))
    times = (INTERVAL * np.arange(1, LENGTH + 1)).tolist()
    layer = NeuralODE(field, times=times, gradient="backprop")
    model = keras.Sequential([keras.Input((2,)), layer])
    steps = options.epochs * -(-len(starts) // 32)
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    model.compile(keras.optimizers.Adam(rate), "mean_absolute_error")
    history = model.fit(starts, pieces, batch_size=32, epochs=options.epochs, verbose=0).history

    whole = (INTERVAL * np.arange(1, len(truth) + 1)).tolist()
    drawn = layer.solve(START[tf.newaxis], times=whole).states[0].numpy()
    error = float(np.sqrt(np.mean((drawn - truth) ** 2)))
    print(f"loss of the pieces {history['loss'][-1]:.4f}, error of the whole spiral {error:.4f}")
    if options.picture:
        draw(options.picture, truth, noisy, drawn)
    return error


def draw(path: pathlib.Path, truth: np.ndarray, noisy: np.ndarray, drawn: np.ndarray) -> None:
    """Draws what was observed, the truth, and what the model says from the first point on."""
    with style.figure(path, 5, 4.2) as figure:
        axis = figure.subplots()
        axis.plot(*noisy.T, ".", color=style.GREY, markersize=2, label="observed")
        axis.plot(*truth.T, color=style.BLUE, lw=1, label="truth")
        axis.plot(*drawn.T, "--", color=style.RED, lw=1, label="Neural ODE, from its first point")
        axis.set(xlabel="$z_1$", ylabel="$z_2$", title="A spiral and the law that was learned")
        axis.legend()


if __name__ == "__main__":
    main()
