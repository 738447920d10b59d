# SPDX-License-Identifier: Apache-2.0
"""A trained run as the start for images of one's own: by `--init_from`, and in plain Keras.

    python -m examples.fine_tuning [--epochs 3] [--picture fine_tuning.png]

A first run learns the digits 0 to 4. Then only a few images of each digit from 5 to 9 are there, as
a folder of PNG files. A second run learns these from nothing, a third starts with the first one's
weights. On the command line the third is

    python train.py --config.dataset=folder:pictures --init_from=runs/first

and in plain Keras `homoode_tf.load` gives stem and layer to a model of one's own.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import homoode_tf
from configs import base
from homoode_tf import training
from homoode_tf.report import style


def write_images(folder: pathlib.Path, few: int) -> tuple[np.ndarray, np.ndarray]:
    """Writes the digits 0 to 4 to first.npz, of 5 to 9 some to pictures/, and returns the rest."""
    digits = load_digits()
    images, labels = np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target
    known = labels < 5
    np.savez(folder / "first.npz", x_train=images[known], y_train=labels[known])
    rest = ~known
    for digit in range(5, 10):
        class_folder = folder / "pictures" / f"digit {digit}"
        class_folder.mkdir(parents=True)
        for number in np.flatnonzero(labels == digit)[:few]:
            Image.fromarray(images[number]).save(class_folder / f"{number:04d}.png")
            rest[number] = False
    return images[rest][..., np.newaxis], labels[rest] - 5


def recipe(dataset: str, epochs: float, channels: int):
    """The recipe of all runs: what `python train.py --config.FIELD=...` changes."""
    config = base.get_config(dataset)
    config.batch_size, config.epochs, config.validation_fraction = 16, epochs, 0.2
    config.model.channels, config.model.stem_strides = channels, (1, 1)
    config.model.head_channels, config.model.groups = channels, channels // 2
    config.optimizer.learning_rate = 3e-3
    return config


def accuracy(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of images that a model reads right."""
    return float(np.mean(np.argmax(model.predict(images, batch_size=100, verbose=0), 1) == labels))


def in_plain_keras(run: pathlib.Path, folder: pathlib.Path, epochs: int) -> keras.Model:
    """Stem and layer of a run, and a new head, trained by `fit` on a folder of images."""
    given = homoode_tf.load(run)
    given.stem.trainable = False
    images = keras.Input((8, 8, 1))
    features = keras.layers.Flatten()(keras.layers.ReLU()(given.implicit(given.condition(images))))
    model = keras.Model(images, keras.layers.Dense(5)(features))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss)
    pictures = keras.utils.image_dataset_from_directory(
        folder, image_size=(8, 8), color_mode="grayscale", batch_size=16, seed=0, verbose=False
    )
    model.fit(pictures, epochs=epochs, verbose=0)
    return model


def main(arguments: list[str] | None = None) -> float:
    """Trains all, draws, and returns what starting from the first run wins in accuracy."""
    parser = argparse.ArgumentParser(prog="python -m examples.fine_tuning")
    parser.add_argument("--epochs", type=float, default=3.0, help="of the first run")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--few", type=int, default=10, help="images of each new digit")
    parser.add_argument("--picture", type=pathlib.Path, help="where to draw it")
    options = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        test = write_images(folder, options.few)
        first = recipe(f"npz:{folder / 'first.npz'}", options.epochs, options.channels)
        training.train(first, folder / "first")
        few = recipe(f"folder:{folder / 'pictures'}", 8 * options.epochs, options.channels)
        training.train(few, folder / "from nothing")
        few.init_from = str(folder / "first")
        training.train(few, folder / "from the first run")
        names = ("from nothing", "from the first run")
        reached = {name: accuracy(homoode_tf.load(folder / name), *test) for name in names}
        model = in_plain_keras(folder / "first", folder / "pictures", round(8 * options.epochs))
        reached["in plain Keras"] = accuracy(model, *test)
    for name, value in reached.items():
        print(f"{name}: {value:.1%} of {len(test[1])} images of 5 to 9")
    if options.picture:
        with style.figure(options.picture, 6, 2.2) as figure:
            axis = figure.subplots()
            colours = (style.GREY, style.BLUE, style.GREEN)
            bars = axis.barh(list(reached), [100 * v for v in reached.values()], color=colours)
            axis.bar_label(bars, fmt="%.1f", padding=3)
            axis.invert_yaxis()
            title = f"Digits 5 to 9 from {options.few} images of each"
            axis.set(xlabel="accuracy (%)", xlim=(0, 105), title=title)
    return reached["from the first run"] - reached["from nothing"]


if __name__ == "__main__":
    main()
