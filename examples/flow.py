# SPDX-License-Identifier: Apache-2.0
"""States that flow to their classes, from one point that all images share.

    python -m examples.flow [--epochs 25] [--picture flow.png] [--animation flow.gif]

A HomoODE whose state has two numbers: what is drawn is the state itself, and nothing is projected.
The 64 pixels of a digit are the condition x that steers z' = F(z; x) all the way, and a linear
layer reads the class off z(1). `layer.solve` gives the way there, at any times.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from homoode_tf.layers import DenseDynamics, HomoODE
from homoode_tf.report import style

TIMES = np.linspace(0.0, 1.0, 33)


def main(arguments: list[str] | None = None) -> float:
    """Trains, draws, and returns the accuracy on the test images."""
    parser = argparse.ArgumentParser(prog="python -m examples.flow")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw the ways")
    parser.add_argument("--animation", type=pathlib.Path, help="where to write them as a GIF")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)

    pixels, labels = load_digits(return_X_y=True)
    split = train_test_split(pixels / 16, labels, test_size=360, random_state=0, stratify=labels)
    train_pixels, test_pixels, train_labels, test_labels = split

    layer = HomoODE(DenseDynamics(2, hidden_units=128), state_channels=2, gradient="backprop")
    head = keras.layers.Dense(10)
    model = keras.Sequential([keras.Input((64,)), layer, head])
    steps = options.epochs * -(-len(train_pixels) // 32)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(train_pixels, train_labels, batch_size=32, epochs=options.epochs, verbose=0)
    accuracy = model.evaluate(test_pixels, test_labels, verbose=0, return_dict=True)["accuracy"]
    print(f"{accuracy:.1%} of {len(test_labels)} test images, from two numbers each")

    states = layer.solve(test_pixels, times=TIMES.tolist()).states.numpy()
    if options.picture:
        draw(options.picture, states, test_labels, head)
    if options.animation:
        animate(options.animation, states, test_labels, head)
    return accuracy


def draw(
    file: pathlib.Path, states: np.ndarray, labels: np.ndarray, head: keras.layers.Dense, until=None
) -> None:
    """Draws the ways until one of the times, each state as its digit, over the head's classes."""
    until = len(TIMES) if until is None else until
    edge = 1.05 * np.abs(states).max()
    line = np.linspace(-edge, edge, 200, dtype=np.float32)
    classes = np.argmax(head(np.stack(np.meshgrid(line, line), axis=-1)), axis=-1)
    colours = style.colours(10)
    with style.figure(file, 3.5, 3.7) as figure:
        axis = figure.subplots()
        shades = 0.85 + 0.15 * np.array(colours)[classes]
        axis.imshow(shades, extent=(-edge, edge, -edge, edge), origin="lower")
        for digit, colour in enumerate(colours):
            way = states[labels == digit, :until].T  # (2, times, images)
            axis.plot(*way, color=colour, lw=0.5, alpha=0.2)
            here = {"color": colour, "marker": f"${digit}$", "markersize": 5, "lw": 0}
            axis.plot(*way[:, -1], **here, markeredgewidth=0.3)
        axis.set(xlabel="$z_1$", ylabel="$z_2$", title=f"Digits at t = {TIMES[until - 1]:.2f}")
        axis.grid(False)


def animate(
    file: pathlib.Path, states: np.ndarray, labels: np.ndarray, head: keras.layers.Dense
) -> None:
    """Writes a GIF of the states on their way, which begins anew after a rest."""
    with tempfile.TemporaryDirectory() as folder:
        frame = pathlib.Path(folder, "frame.png")
        frames = []
        for until in range(1, len(TIMES) + 1):
            draw(frame, states, labels, head, until)
            frames.append(Image.open(frame).convert("RGB"))
    palette = frames[-1].quantize(128)
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in frames]
    durations = [70] * len(TIMES[:-1]) + [1500]
    file.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=durations, loop=0)


if __name__ == "__main__":
    main()
