# SPDX-License-Identifier: Apache-2.0
"""A transformer of one block at rest: attention as the dynamics of a DEQ.

    python -m examples.deq_attention [--epochs 15] [--picture deq_attention.png]

The rows of a digit are a sequence of tokens x. `DEQ` solves z = block(z; x), the state that one
more pass of the block would not change, and differentiates there. A penalty on the block's Jacobian
keeps that state easy to find. Beside it the explicit stack: six blocks with weights of their own.
"""

import argparse
import pathlib

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from homoode_tf.layers import DEQ
from homoode_tf.report import style
from homoode_tf.solvers import fixed_point

UNITS, HEADS, DEPTH = 32, 4, 6
TRAINED = {"gradient": "jacobian_free", "jacobian_weight": 1.0, "rtol": 1e-2, "atol": 1e-2}


@keras.saving.register_keras_serializable(package="examples")
class Block(keras.layers.Layer):
    """A transformer's block, of tokens z beside tokens x, both of shape (batch, length, units)."""

    def __init__(self, units: int, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.units, self.heads = units, heads
        self.attention = keras.layers.MultiHeadAttention(heads, units // heads)
        self.inner = keras.layers.Dense(2 * units, activation="gelu")
        self.outer = keras.layers.Dense(units)
        self.first_norm = keras.layers.LayerNormalization()
        self.second_norm = keras.layers.LayerNormalization()

    def build(self, z_shape, x_shape):
        self.attention.build(z_shape, z_shape)
        self.outer.build((*z_shape[:-1], 2 * self.units))
        for part in (self.inner, self.first_norm, self.second_norm):
            part.build(z_shape)

    def call(self, z, x):
        y = self.first_norm(x + self.attention(z, z))
        return self.second_norm(y + self.outer(self.inner(y)))

    def get_config(self):
        return {**super().get_config(), "units": self.units, "heads": self.heads}


def build(deep: bool) -> keras.Model:
    """Images of shape (8, 8) to logits, by the explicit stack (deep) or at rest."""
    rows = keras.Input((8, 8))
    # What a row holds, and where it is.
    x = keras.layers.Dense(UNITS)(rows) + keras.layers.Embedding(8, UNITS)(np.arange(8))
    z = x if deep else DEQ(Block(UNITS, HEADS), name="rest", on_failure="return", **TRAINED)(x)
    for _ in range(DEPTH * deep):
        z = Block(UNITS, HEADS)(z, x)
    return keras.Model(rows, keras.layers.Dense(10)(keras.layers.Flatten()(z)))


def main(arguments: list[str] | None = None) -> float:
    """Trains both, draws, and returns the DEQ's accuracy on the test images."""
    parser = argparse.ArgumentParser(prog="python -m examples.deq_attention")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--images", type=int, default=1437, help="of the digits, to train with")
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    images, labels = load_digits().images / 16, load_digits().target
    sizes = {"train_size": options.images, "test_size": 360, "random_state": 0}
    split = train_test_split(images, labels, **sizes, stratify=labels)
    images, test_images, labels, test_labels = split

    histories = {}
    for name in (f"stack of {DEPTH} blocks", "DEQ of one block"):
        keras.utils.set_random_seed(0)
        model = build(deep=name.startswith("stack"))
        rate = keras.optimizers.schedules.CosineDecay(2e-3, options.epochs * 45)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), loss, metrics=["accuracy"])
        fit = {"validation_data": (test_images, test_labels), "epochs": options.epochs}
        accuracies = model.fit(images, labels, **fit, verbose=0).history["val_accuracy"]
        histories[name] = accuracies
        print(f"{name}: {model.count_params():,} weights, {accuracies[-1]:.1%} of the test images")

    layer = model.get_layer("rest")
    tokens = keras.Model(model.input, layer.input)(test_images)
    solved = layer.solve(tokens)
    passes = int(solved.num_evaluations)
    print(f"{np.mean(solved.status == 0):.1%} of the test images come to rest, in {passes} passes")
    if options.picture:
        draw(options.picture, histories, layer, tokens)
    return accuracies[-1]


def draw(file: pathlib.Path, histories: dict, layer: DEQ, tokens) -> None:
    """Draws the accuracies, and how the state comes to rest, by two methods."""
    colours, numbers = (style.GREY, style.BLUE), (1, 2, 4, 8, 12, 16, 24)
    with style.figure(file, 8, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        for (name, values), colour in zip(histories.items(), colours, strict=True):
            epochs = range(1, len(values) + 1)
            left.plot(epochs, 100 * np.array(values), "o-", ms=3, color=colour, label=name)
        left.set(xlabel="epoch", ylabel="accuracy (%)", title="360 test images", ylim=(60, 100))
        left.locator_params(axis="x", integer=True)
        for name, marker, colour in (("anderson", "o", style.BLUE), ("damped", "s", style.RED)):
            limit = {"rtol": 1e-6, "atol": 1e-6, "on_failure": "return"}
            solvers = [fixed_point.get(name, max_num_iterations=n, **limit) for n in numbers]
            left_over = [np.median(layer.solve(tokens, solver=s).residual) for s in solvers]
            right.semilogy(numbers, left_over, marker + "-", ms=4, color=colour, label=name)
        right.set(xlabel="iterations", ylabel="median residual", title="On the way to rest")
        left.legend()
        right.legend()


if __name__ == "__main__":
    main()
