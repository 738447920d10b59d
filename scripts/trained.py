# SPDX-License-Identifier: Apache-2.0
"""A finished run, opened to be studied: its model, its images, its config."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import homoode_tf
from homoode_tf import data
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.settings import TrainingSettings

# The test images of digits and of all else are full batches, so that nothing is traced twice.
BATCH_SIZE = 40


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run that is complete.

    Attributes:
        folder: Where it is.
        config: The whole config that made it.
        model: Its classifier, with the weights of the best checkpoint, averaged where the run
            averages them.
        images: Its data set.
    """

    folder: pathlib.Path
    config: dict[str, Any]
    model: keras.Model
    images: data.ImageData

    def test(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The first so many test images (uint8) and labels, all where there are fewer."""
        batches = self.images.evaluation_batches("test", BATCH_SIZE)
        return _collect(batches.as_numpy_iterator(), number)

    def train(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """So many images that it was trained on, as they are, in an order that is always the same.

        At most as many as fill batches of `BATCH_SIZE`.
        """
        steps = min(-(-number // BATCH_SIZE), self.images.steps_per_epoch(BATCH_SIZE))
        batches = self.images.train_batches(BATCH_SIZE, seed=0, num_steps=steps)
        return _collect(batches.as_numpy_iterator(), number)


def open_run(folder: str | os.PathLike, data_dir: str | None = None) -> Trained:
    """Opens the folder of a run.

    Raises:
        InvalidValueError: If it holds no complete run.
        DataNotFoundError: If its data set is not in `data_dir`.
    """
    model = homoode_tf.load(folder)
    config = TrainingSettings.complete(Workdir(folder).read_config())
    fields = {name: config[name] for name in data.FIELDS if name in config}
    images = data.load(config["dataset"], data_dir=data_dir, **fields)
    return Trained(pathlib.Path(folder), config, model, images)


def batches_of(*arrays: np.ndarray, size: int = BATCH_SIZE) -> Iterator[tuple[tf.Tensor, ...]]:
    """Yields slices of arrays, `size` at a time; the last may be smaller."""
    for begin in range(0, len(arrays[0]), size):
        yield tuple(tf.constant(array[begin : begin + size]) for array in arrays)


def _collect(batches, number: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for some, their_labels in batches:
        images.append(some)
        labels.append(their_labels)
        if sum(map(len, labels)) >= number:
            break
    return np.concatenate(images)[:number], np.concatenate(labels)[:number]
