# SPDX-License-Identifier: Apache-2.0
"""A HomoODE among other Keras layers: an image classifier, trained, saved and loaded by Keras.

    python -m examples.classifier [--epochs 15] [--picture classifier.png]

The stem makes the condition x of an image; `HomoODE` solves z' = F(z; x) from a point that all
images share; the head reads the class off z(1). Optimiser, schedule, callbacks and `.keras` file
are Keras's own. How often F is evaluated is told by the layer, here to a callback.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from homoode_tf.layers import ConvDynamics, HomoODE
from homoode_tf.report import style


class Evaluations(keras.callbacks.Callback):
    """Writes into the history how often F was evaluated in the last training step of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        # Not at the epoch's end: the layer counts its last pass, which is then one of validation.
        layer = self.model.get_layer("solve")
        self.last = {"forward_nfe": int(layer.forward_nfe), "backward_nfe": int(layer.backward_nfe)}

    def on_epoch_end(self, epoch, logs=None):
        logs.update(self.last)


def build(channels: int = 32) -> keras.Model:
    """Images of shape (8, 8, 1), of 0..1, to the logits of ten classes."""
    images = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False)(images)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    z = HomoODE(ConvDynamics(channels), gradient="backprop", name="solve")(x)
    # F ends in a group norm: without a ReLU, or Flatten, a mean over positions would say nothing.
    z = keras.layers.Flatten()(keras.layers.ReLU()(z))
    return keras.Model(images, keras.layers.Dense(10)(z))


def main(arguments: list[str] | None = None) -> float:
    """Trains, saves, loads, draws, and returns the accuracy on the test images."""
    parser = argparse.ArgumentParser(prog="python -m examples.classifier")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--images", type=int, default=1797, help="how many of the digits to take")
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)

    digits = load_digits()
    images, labels = digits.images[..., np.newaxis] / 16, digits.target
    images, labels = images[: options.images], labels[: options.images]
    split = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    train_images, test_images, train_labels, test_labels = split

    model = build()
    steps = options.epochs * -(-len(train_images) // 32)
    model.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(3e-3, steps), 1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "best.keras")
        best = keras.callbacks.ModelCheckpoint(
            file, monitor="val_accuracy", mode="max", save_best_only=True
        )
        history = model.fit(
            train_images,
            train_labels,
            validation_split=0.1,
            epochs=options.epochs,
            callbacks=[Evaluations(), best],
            verbose=0,
        ).history
        model = keras.saving.load_model(file)
    accuracy = model.evaluate(test_images, test_labels, verbose=0, return_dict=True)["accuracy"]
    evaluations = history["forward_nfe"][-1], history["backward_nfe"][-1]
    print(f"best epoch, loaded: {accuracy:.2%} of {len(test_labels)} test images")
    print(f"evaluations of F in a step: {evaluations[0]} forward, {evaluations[1]} backward")
    if options.picture:
        draw(options.picture, history)
    return accuracy


def draw(file: pathlib.Path, history: dict[str, list[float]]) -> None:
    """Draws the errors, and the evaluations of F, over the epochs."""
    epochs = np.arange(1, len(history["loss"]) + 1)
    with style.figure(file, 8, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        for name, key, colour in (
            ("training", "accuracy", style.GREY),
            ("validation", "val_accuracy", style.BLUE),
        ):
            wrong = 100 * (1 - np.array(history[key]))
            left.plot(epochs, wrong, "o-", ms=3, color=colour, label=name)
        left.set(xlabel="epoch", ylabel="images misread (%)", ylim=(0, None), title="Digits")
        for name, marker, colour in (("forward", "o", style.BLUE), ("backward", "s", style.RED)):
            right.plot(epochs, history[f"{name}_nfe"], marker + "-", ms=4, color=colour, label=name)
        right.set(xlabel="epoch", ylabel="evaluations", ylim=(0, None), title="Evaluations of F")
        left.legend()
        right.legend()


if __name__ == "__main__":
    main()
