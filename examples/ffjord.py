# SPDX-License-Identifier: Apache-2.0
"""FFJORD: a continuous flow that learns the density of points in the plane.

    python -m examples.ffjord [--epochs 30] [--picture ffjord.png]

A `NeuralODE` moves points of an unknown density to a normal one, and integrates beside them how
the log-density changes, by the exact trace of the Jacobian: its state is {"z", "log_density"}.
Trained by maximum likelihood; the density that it has learned is then drawn.

Reference: Grathwohl et al., "FFJORD", ICLR 2019, https://arxiv.org/abs/1810.01367
"""

import argparse
import pathlib

import keras
import numpy as np
import tensorflow as tf

from homoode_tf.layers import NeuralODE
from homoode_tf.report import style

CENTRES = 2.0 * np.stack(
    [np.cos(np.arange(5) * 0.4 * np.pi), np.sin(np.arange(5) * 0.4 * np.pi)], 1
)
WIDTH = 0.35


class Flow(keras.layers.Layer):
    """z' = f(t, z), log_density' = tr df/dz, for the way from the data to the normal density."""

    def __init__(self, units: int = 64):
        super().__init__()
        self.inner = keras.layers.Dense(units)
        self.outer = keras.layers.Dense(2, kernel_initializer="zeros")

    def call(self, t, state):
        z = state["z"]
        time = tf.broadcast_to(t, tf.shape(z[:, :1]))
        y = tf.tanh(self.inner(tf.concat([z, time], -1)))
        slope = self.outer(y)
        # df_i/dz_i = sum_k V_ki (1 - y_k^2) W_ik, written out for one hidden layer.
        both = tf.reduce_sum(self.inner.kernel[:2] * tf.transpose(self.outer.kernel), 0)
        trace = tf.linalg.matvec(1.0 - tf.square(y), both)
        return {"z": slope, "log_density": trace}


def log_density(layer: keras.layers.Layer, points: tf.Tensor) -> tf.Tensor:
    """Of points, shape (batch, 2), under the model: that of their images, and of the flow."""
    ends = layer({"z": points, "log_density": tf.zeros_like(points[:, 0])})
    normal = -0.5 * tf.reduce_sum(tf.square(ends["z"]), -1) - tf.math.log(2.0 * np.pi)
    return normal + ends["log_density"]


def mixture(points: np.ndarray) -> np.ndarray:
    """The true log-density of the mixture."""
    squares = np.sum((points[:, np.newaxis] - CENTRES) ** 2, -1) / WIDTH**2
    return np.log(np.mean(np.exp(-0.5 * squares), 1) / (2.0 * np.pi * WIDTH**2))


class Likelihood(keras.Model):
    """Gives the negative log-density of its inputs, which training makes small."""

    def __init__(self, layer: keras.layers.Layer):
        super().__init__()
        self.layer = layer

    def call(self, points):
        return -log_density(self.layer, points)


def main(arguments: list[str] | None = None) -> float:
    """Trains, draws, and returns the integral of the learned density over the plane."""
    parser = argparse.ArgumentParser(prog="python -m examples.ffjord")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)

    random = np.random.default_rng(0)
    points = CENTRES[random.integers(0, 5, 8192)] + random.normal(0.0, WIDTH, (8192, 2))
    points = points.astype(np.float32)
    model = Likelihood(NeuralODE(Flow(), rtol=1e-3, atol=1e-3, gradient="backprop"))
    steps = options.epochs * 32
    rate = keras.optimizers.schedules.CosineDecay(0.02, steps)
    model.compile(keras.optimizers.Adam(rate), lambda _, found: tf.reduce_mean(found))
    model.fit(points, np.zeros(len(points)), 256, options.epochs, verbose=0)

    axis = np.linspace(-4.0, 4.0, 81, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    learned = -model.predict(grid, 2048, verbose=0)
    whole = float(np.sum(np.exp(learned)) * (axis[1] - axis[0]) ** 2)
    distance = float(np.mean(mixture(points[:2048]) + model.predict(points[:2048], verbose=0)))
    print(f"integral of the density {whole:.4f}, Kullback-Leibler distance {distance:.3f}")
    if options.picture:
        draw(options.picture, axis, learned, mixture(grid))
    return whole


def draw(path: pathlib.Path, axis: np.ndarray, learned: np.ndarray, truth: np.ndarray) -> None:
    """Draws both densities."""
    with style.figure(path, 7, 3.6) as figure:
        for place, (name, values) in enumerate({"truth": truth, "learned": learned}.items()):
            part = figure.add_subplot(1, 2, place + 1)
            part.pcolormesh(axis, axis, np.exp(values).reshape(81, 81), cmap="Blues")
            part.set(xlabel="$z_1$", ylabel="$z_2$", title=f"density, {name}", aspect="equal")


if __name__ == "__main__":
    main()
