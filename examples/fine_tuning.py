# SPDX-License-Identifier: Apache-2.0
"""Weights that ship with the package as the start for a few images of one's own.

    python -m examples.fine_tuning [--few 10] [--picture fine_tuning.png]

A folder of PNG files holds ten images of each digit, by other hands, another scanner and of another
size than MNIST's. One run learns them from nothing, a second starts with the weights "mnist" and
changes them little: a lower rate, its stem frozen. On the command line that is

    python train.py --config=mnist --config.dataset=folder:pictures --init_from=mnist
        --config.freeze=stem --config.optimizer.learning_rate=0.0003

and in plain Keras `homoode_tf.models.pretrained` gives a model to `fit`.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from configs import base
from homoode_tf import data, models, training
from homoode_tf.report import style


def write_images(folder: pathlib.Path, few: int, seed: int) -> None:
    """Writes scikit-learn's digits in MNIST's frame: `few` of each to train/, the rest to test/."""
    digits = load_digits()
    rank = np.random.default_rng(seed).permutation(len(digits.target))
    for digit in range(10):
        numbers = sorted(np.flatnonzero(digits.target == digit), key=lambda number: rank[number])
        for split, some in (("train", numbers[:few]), ("test", numbers[few:])):
            class_folder = folder / split / str(digit)
            class_folder.mkdir(parents=True)
            for number in some:
                image = Image.fromarray(np.uint8(digits.images[number] * (255 / 16)))
                frame = Image.new("L", (28, 28))
                frame.paste(image.resize((20, 20), Image.Resampling.BICUBIC), (4, 4))
                frame.save(class_folder / f"{number:04d}.png")


def recipe(folder: pathlib.Path, epochs: float, seed: int):
    """The recipe of both runs: the model is that of the weights."""
    config = base.get_config(f"folder:{folder}")
    fields = models.pretrained_card("mnist").recipe.items()
    model = {name: value for name, value in fields if name.startswith("model.")}
    config.update_from_flattened_dict(model)
    config.batch_size, config.epochs, config.validation_fraction = 16, epochs, 0.2
    config.evaluate_every_epochs, config.seed = 5, seed
    return config


def in_plain_keras(images: data.ImageData, epochs: float) -> keras.Model:
    """The shipped model, but for its stem, trained by `fit`."""
    model = models.pretrained("mnist")
    model.stem.trainable = False
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-4), loss)
    steps = max(1, round(epochs * images.info.num_train / 16))
    batches = images.train_batches(16, seed=0, num_steps=steps)
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return model


def accuracy(model: keras.Model, images: data.ImageData) -> float:
    """The share of test images that a model reads right."""
    batches = list(images.evaluation_batches("test", 100))
    right = [model.predict_on_batch(pixels).argmax(-1) == labels for pixels, labels in batches]
    return float(np.mean(np.concatenate(right)))


def main(arguments: list[str] | None = None) -> float:
    """Trains all, draws, and returns what starting from the weights wins in accuracy."""
    parser = argparse.ArgumentParser(prog="python -m examples.fine_tuning")
    parser.add_argument("--epochs", type=float, default=30.0)
    parser.add_argument("--few", type=int, default=10, help="images of each digit")
    parser.add_argument("--seed", type=int, default=0, help="of the runs, and of which images")
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(options.seed)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_images(folder / "pictures", options.few, options.seed)
        images = data.load(f"folder:{folder / 'pictures'}", validation_fraction=0.2)
        config = recipe(folder / "pictures", options.epochs, options.seed)
        reached = {"MNIST's weights as they are": accuracy(models.pretrained("mnist"), images)}
        result = training.train(config, folder / "from nothing")
        reached["from nothing"] = result["test_accuracy"]
        config.init_from, config.freeze = "mnist", ("stem",)
        config.optimizer.learning_rate = 3e-4
        result = training.train(config, folder / "from MNIST's weights")
        reached["from MNIST's weights"] = result["test_accuracy"]
        reached["the same by fit"] = accuracy(in_plain_keras(images, options.epochs), images)
    for name, value in reached.items():
        print(f"{name}: {value:.1%} of {images.info.num_test:,} images")
    if options.picture:
        with style.figure(options.picture, 6, 2.4) as figure:
            axis = figure.subplots()
            colours = (style.GREY, style.GREY, style.BLUE, style.GREEN)
            bars = axis.barh(list(reached), [100 * v for v in reached.values()], color=colours)
            axis.bar_label(bars, fmt="%.1f", padding=3)
            axis.invert_yaxis()
            title = f"Other digits than MNIST's, from {options.few} images of each"
            axis.set(xlabel="accuracy (%)", xlim=(0, 109), title=title)
    return reached["from MNIST's weights"] - reached["from nothing"]


if __name__ == "__main__":
    main()
