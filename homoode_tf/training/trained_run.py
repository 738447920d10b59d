# SPDX-License-Identifier: Apache-2.0
"""What can be done with a run that was trained: evaluate it, export it."""

import os

import ml_collections
import tensorflow as tf

from homoode_tf.training.files.lock import exclusive
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run, restore_best


def evaluate(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    strategy: str | tf.distribute.Strategy = "auto",
) -> dict[str, float]:
    """Evaluates the best checkpoint of a run on validation and test.

    Args:
        config: The config that made the run.
        workdir: The run's folder; nothing in it is changed.
        data_dir: Where the data sets are, or None for TFDS's default.
        strategy: A name of `homoode_tf.training.devices.strategy.NAMES`, or a strategy.

    Returns:
        step, and loss, accuracy and examples of both splits as `validation_loss` and so on.

    Raises:
        WorkdirError: If there is no run, or one of another config.
        CheckpointError: If no whole checkpoint was evaluated on validation.
    """
    run, step = _best_of(config, workdir, data_dir, strategy)
    result = {"step": step}
    for split in ("validation", "test"):
        for name, value in run.evaluator.evaluate(split).items():
            result[f"{split}_{name}"] = value
    print(
        f"Step {step} of {run.workdir.directory}: "
        f"validation accuracy {result['validation_accuracy']:.2%} "
        f"({result['validation_examples']} images), "
        f"test accuracy {result['test_accuracy']:.2%} ({result['test_examples']} images), "
        f"test loss {result['test_loss']:.4f}.",
        flush=True,
    )
    return result


def export(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    strategy: str | tf.distribute.Strategy = "auto",
) -> os.PathLike:
    """Writes the best checkpoint of a run to `saved_model/` again.

    Args:
        config: The config that made the run.
        workdir: The run's folder.
        data_dir: Where the data sets are, or None for TFDS's default.
        strategy: A name of `homoode_tf.training.devices.strategy.NAMES`, or a strategy.

    Returns:
        The folder of the SavedModel.

    Raises:
        WorkdirError: If there is no run, or one of another config.
        CheckpointError: If no whole checkpoint was evaluated on validation.
        LockedError: If another process works in the workdir.
    """
    run, step = _best_of(config, workdir, data_dir, strategy)
    with exclusive(run.workdir.directory):
        run.export()
    print(f"Step {step} was exported to {run.workdir.saved_model}.", flush=True)
    return run.workdir.saved_model


def _best_of(config, workdir, data_dir, strategy) -> tuple[Run, int]:
    folder = Workdir(workdir)
    folder.check(config)
    return restore_best(config, folder, data_dir, strategy)
