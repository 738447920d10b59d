# SPDX-License-Identifier: Apache-2.0
"""What can be done with a run that was trained: restore it, evaluate it, export it."""

import os
import pathlib

import ml_collections
import tensorflow as tf

from homoode_tf.training.files.lock import exclusive
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.watch.progress import Progress


def restore_best(
    config: ml_collections.ConfigDict,
    folder: Workdir,
    data_dir: str | os.PathLike | None = None,
    strategy: str | tf.distribute.Strategy = "auto",
    second_best: bool = False,
) -> tuple[Run, int]:
    """Builds a run with the checkpoint that is best on validation.

    Args:
        config: The config that made the run, or one that differs from it in how it solves.
        folder: The run's folder.
        data_dir: Where the data sets are, or None for TFDS's default.
        strategy: A name of `homoode_tf.training.devices.strategy.NAMES`, or a strategy.
        second_best: Whether the next best may do, with a warning, where the best is damaged.

    Returns:
        The run and the step of the checkpoint.

    Raises:
        InvalidValueError: If the config is not allowed.
        DataNotFoundError: If the data set is not there.
        WorkdirError: If there is no run.
        CheckpointError: If no whole checkpoint was evaluated on validation, or the best is damaged.
    """
    settings = TrainingSettings.from_config(config)
    run = Run(settings, folder, data_dir, strategy, folder.origins(folder.read_config()))
    return run, run.checkpoints.restore_best(second_best).step


def evaluate(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    strategy: str | tf.distribute.Strategy = "auto",
    second_best: bool = False,
) -> dict[str, float]:
    """Evaluates the best checkpoint of a run on validation and test; changes nothing.

    The arguments are those of `train`.

    Returns:
        step, and loss, accuracy and examples of both splits as `validation_loss` and so on.

    Raises:
        WorkdirError: If there is no run, or one of another config.
        CheckpointError: If no whole checkpoint was evaluated on validation, or the best is damaged.
    """
    folder = Workdir(workdir)
    folder.check(config)
    run, step = restore_best(config, folder, data_dir, strategy, second_best)
    with Progress(run.milestones.total_steps, step, quiet=not run.is_chief) as progress:
        progress.say(run.in_words())
        result = {"step": step} | {
            f"{split}_{name}": value
            for split in ("validation", "test")
            for name, value in run.evaluator.evaluate(split, progress.doing).items()
        }
    print(
        f"Step {step} of {folder.directory}: "
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
    second_best: bool = False,
) -> pathlib.Path:
    """Writes the best checkpoint of a run to `saved_model/` and `model.keras` again.

    The arguments are those of `train`.

    Returns:
        The folder of the SavedModel.

    Raises:
        WorkdirError: If there is no run, or one of another config.
        CheckpointError: If no whole checkpoint was evaluated on validation, or the best is damaged;
            an earlier SavedModel is then untouched.
        LockedError: If another process works in the workdir.
    """
    folder = Workdir(workdir)
    folder.check(config)
    with folder.explaining_a_full_disk(), exclusive(folder.directory):
        # Again: what was there before the lock may be gone.
        folder.check(config)
        folder.clean()
        run, step = restore_best(config, folder, data_dir, strategy, second_best)
        run.export()
    print(f"Step {step} was exported to {folder.saved_model}.", flush=True)
    return folder.saved_model
