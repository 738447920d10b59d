# SPDX-License-Identifier: Apache-2.0
"""A run as it lies on disk: its config and its answers. Reading changes nothing."""

import ml_collections
import numpy as np
import tensorflow as tf

from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run


def read_config(folder: Workdir) -> ml_collections.ConfigDict:
    """Returns the config that made a run, locked.

    Raises:
        WorkdirError: If the folder holds no run, or its `config.json` is damaged.
    """
    return ml_collections.ConfigDict(folder.read_config()).lock()


def first_test_images(run: Run, number: int) -> tuple[tf.Tensor, np.ndarray]:
    """Returns the first images of the test split and their labels; fewer where it is smaller."""
    images, labels = next(iter(run.images.evaluation_batches("test", number)))
    return images, labels.numpy()


def classify_test_split(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Classifies the test split in the batches that the evaluation makes.

    Args:
        run: A run on one device.

    Returns:
        Labels and predicted classes, int64 arrays of shape (test images,).
    """

    @tf.function(autograph=False)
    def classify(images):
        return tf.argmax(run.model(images, training=False), axis=-1)

    batches, num_batches = run.inputs.evaluation("test")
    all_labels, all_predictions = [], []
    for _ in range(num_batches):
        images, labels, weights = (
            run.strategy.experimental_local_results(part)[0] for part in next(batches)
        )
        present = weights.numpy() > 0
        all_labels.append(labels.numpy()[present])
        all_predictions.append(classify(images).numpy()[present])
    return np.concatenate(all_labels), np.concatenate(all_predictions)
