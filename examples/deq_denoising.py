# SPDX-License-Identifier: Apache-2.0
"""Blurred and noisy photographs made sharp by a DEQ: gradient descent with a learned regulariser.

    python -m examples.deq_denoising [--epochs 6] [--picture deq_denoising.png]

What was seen is y = A z + noise, A being a blur. The fixed point of

    g(z; y) = z + eta A'(y - A z) - tau (z - D(z))

explains y, and a small network D, trained through the fixed point, takes it for a clean image.
Trained on the left of two photographs, tried on their right, beside the best image without learning
(Tikhonov's). After Gilton, Ongie and Willett, https://arxiv.org/abs/2102.07944.
"""

import argparse
import pathlib

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_sample_images

from homoode_tf.layers import DEQ
from homoode_tf.report import style

SIZE, NOISE, PHOTOGRAPHS = 32, 0.06, load_sample_images().images
TAPS = np.exp(-0.5 * np.arange(-3, 4) ** 2)
KERNEL = tf.constant(np.outer(TAPS, TAPS)[..., None, None] / TAPS.sum() ** 2, tf.float32)


def blur(z: tf.Tensor) -> tf.Tensor:
    """A z; A is symmetric, so it is A' as well."""
    return tf.nn.conv2d(z, tf.cast(KERNEL, z.dtype), 1, "SAME")


@keras.saving.register_keras_serializable(package="examples")
class Descent(keras.layers.Layer):
    """One step of gradient descent, g(z; y)."""

    def build(self, z_shape, y_shape):
        self.eta = self.add_weight(name="eta", initializer=keras.initializers.Constant(1.0))
        self.tau = self.add_weight(name="tau", initializer=keras.initializers.Constant(0.2))
        layers = [keras.layers.Conv2D(24, 3, padding="same", activation="softplus") for _ in "ab"]
        self.denoiser = keras.Sequential([*layers, keras.layers.Conv2D(1, 3, padding="same")])
        self.denoiser.build(z_shape)

    def call(self, z, y):
        return z + self.eta * blur(y - blur(z)) - self.tau * (z - self.denoiser(z))


def patches(count: int, seed: int, left: bool) -> np.ndarray:
    """Grey pieces of photographs with something to see, (count, 32, 32, 1), of 0..1."""
    random, pieces = np.random.default_rng(seed), []
    while len(pieces) < count:
        photograph = PHOTOGRAPHS[random.integers(2)].mean(axis=-1) / 255
        part = photograph[:, :420] if left else photograph[:, 420:]
        row, column = (random.integers(0, size - SIZE) for size in part.shape)
        piece = part[row : row + SIZE, column : column + SIZE, np.newaxis]
        if piece.std() > 0.1:
            pieces.append(piece)
    return np.stack(pieces).astype(np.float32)


def psnr(images: np.ndarray, truth: np.ndarray) -> float:
    """Mean peak signal-to-noise ratio in decibels, of images of 0..1."""
    return float(np.mean(-10 * np.log10(np.mean((images - truth) ** 2, axis=(1, 2, 3)))))


def tikhonov(y: np.ndarray, weight: float) -> np.ndarray:
    """The image with the least |A z - y|^2 + weight |z - mean|^2, by gradient descent."""
    z, mean = y, tf.reduce_mean(y, axis=(1, 2, 3), keepdims=True)
    for _ in range(100):
        z = z + 0.5 * (blur(y - blur(z)) - weight * (z - mean))
    return z


def main(arguments: list[str] | None = None) -> float:
    """Trains, draws, and returns how many decibels are won on the images held out."""
    parser = argparse.ArgumentParser(prog="python -m examples.deq_denoising")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--pieces", type=int, default=1600, help="of photographs, to train with")
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)
    clean, truth = patches(options.pieces, 0, left=True), patches(48, 1, left=False)
    seen, held_out = (blur(z) + tf.random.normal(z.shape, 0.0, NOISE) for z in (clean, truth))

    # The iteration starts at what was seen: its input.
    trained = {"gradient": "implicit", "jacobian_weight": 0.003}
    layer = DEQ(Descent(), "anderson", 1e-2, 1e-3, initial_point="input", **trained)
    model = keras.Sequential([keras.Input((SIZE, SIZE, 1)), layer])
    rate = keras.optimizers.schedules.CosineDecay(4e-3, options.epochs * len(clean) // 16)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "mean_squared_error")
    model.fit(seen, clean, batch_size=16, epochs=options.epochs, verbose=0)

    best = max((0.05, 0.1, 0.2, 0.3), key=lambda w: psnr(tikhonov(seen[:200], w), clean[:200]))
    plain, solved = tikhonov(held_out, best), layer.solve(held_out)
    rows = {"seen": held_out, "Tikhonov": plain, "DEQ": solved.final_state, "truth": truth}
    decibels = {name: psnr(images, truth) for name, images in rows.items() if name != "truth"}
    print(", ".join(f"{name} {value:.2f} dB" for name, value in decibels.items()))
    print(f"{float(np.mean(solved.status == 0)):.0%} of the images are at rest")
    if options.picture:
        draw(options.picture, rows, decibels)
    return decibels["DEQ"] - decibels["seen"]


def draw(file: pathlib.Path, rows: dict[str, np.ndarray], decibels: dict[str, float]) -> None:
    """Draws some images held out, one way to treat them a row."""
    with style.figure(file, 8, 4.2) as figure:
        for line, (name, images) in zip(figure.subplots(4, 8), rows.items(), strict=True):
            for axis, image in zip(line, np.array(images), strict=False):
                axis.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
                axis.set(xticks=[], yticks=[])
                axis.grid(False)
            figures = f"\n{decibels[name]:.1f} dB" if name in decibels else ""
            line[0].set_ylabel(name + figures, rotation=0, ha="right", va="center")


if __name__ == "__main__":
    main()
