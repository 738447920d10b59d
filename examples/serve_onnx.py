# SPDX-License-Identifier: Apache-2.0
"""A Keras model with a HomoODE becomes an ONNX file, which answers without TensorFlow.

    python -m examples.serve_onnx [--epochs 5] [--picture serve_onnx.png]

`model.export` writes a SavedModel; `homoode_tf.serving.convert` makes one file of it, with the
solver's loop inside, and compares its answers before it keeps it. onnxruntime then takes as many
steps as its images need. Wants `pip install 'homoode_tf[train,onnx,plots]'`.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
import onnxruntime
from sklearn.datasets import load_digits

from homoode_tf.layers import ConvDynamics, HomoODE
from homoode_tf.report import style
from homoode_tf.serving.convert import convert


def train(images: np.ndarray, labels: np.ndarray, epochs: int) -> keras.Model:
    """A small classifier that ends in probabilities."""
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, padding="same"),
        HomoODE(ConvDynamics(16), "bosh3"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=32, epochs=epochs, verbose=0)
    return model


def main(arguments: list[str] | None = None) -> float:
    """Trains, converts, compares, draws, and returns the largest difference of a probability."""
    parser = argparse.ArgumentParser(prog="python -m examples.serve_onnx")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)
    images = (load_digits().images[..., np.newaxis] / 16).astype(np.float32)
    labels = load_digits().target
    model = train(images[:1437], labels[:1437], options.epochs)

    new = images[1437:]
    with tempfile.TemporaryDirectory() as folder:
        exported, file = pathlib.Path(folder, "exported"), pathlib.Path(folder, "digits.onnx")
        model.export(exported, verbose=False)
        converted = convert(exported, file, "onnx")
        # From here on the file and onnxruntime are enough.
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()
        (answers,) = session.run(None, {given.name: new})
    difference = float(np.abs(answers - model.predict(new, batch_size=len(new), verbose=0)).max())
    right = float(np.mean(np.argmax(answers, axis=-1) == labels[1437:]))
    print(f"digits.onnx: {converted.size / 1024:,.0f} KiB, {right:.1%} of {len(new)} new images")
    print(f"largest difference of a probability from Keras's: {difference:.1g}")
    if options.picture:
        draw(options.picture, new, answers)
    return difference


def draw(file: pathlib.Path, images: np.ndarray, answers: np.ndarray) -> None:
    """Draws the images of which the file is least sure, and what it answers."""
    unsure = np.argsort(answers.max(axis=-1))[:6]
    with style.figure(file, 8, 2.8) as figure:
        above, below = figure.subplots(2, len(unsure), sharey="row")
        for image, answer, top, bottom in zip(
            images[unsure], answers[unsure], above, below, strict=True
        ):
            top.imshow(image[..., 0], cmap="gray_r")
            top.set(xticks=[], yticks=[])
            top.grid(False)
            bottom.bar(range(10), 100 * answer, color=style.BLUE)
            bottom.set(xticks=range(10), ylim=(0, 100))
            bottom.tick_params(labelsize=6)
        below[0].set_ylabel("probability (%)")
        figure.suptitle("The new digits of which the ONNX file is least sure", fontsize=10)


if __name__ == "__main__":
    main()
