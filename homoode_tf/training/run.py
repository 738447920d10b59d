# SPDX-License-Identifier: Apache-2.0
"""The parts of a run, built from its config."""

import os
import pathlib
import tempfile

import keras
import ml_collections
import tensorflow as tf

from homoode_tf import data, models
from homoode_tf.serving import export
from homoode_tf.training.devices import strategy as strategies
from homoode_tf.training.devices import xla
from homoode_tf.training.evaluation import Evaluator
from homoode_tf.training.files.checkpoints import Checkpoints
from homoode_tf.training.files.workdir import Workdir, WorkdirError
from homoode_tf.training.inputs import Inputs
from homoode_tf.training.milestones import Plan
from homoode_tf.training.settings import TrainingSettings, read_section
from homoode_tf.training.state import TrainState
from homoode_tf.training.step import sum_over_replicas
from homoode_tf.training.whitening import whiten_stem

# Their patches are a million, for 27 x 27 moments.
_WHITENING_IMAGES = 5000


class Run:
    """Data, model, state, checkpoints and evaluation of one run. Building it writes nothing.

    Args:
        config: The whole config.
        workdir: The run's folder.
        data_dir: Where the data sets are, or None for TFDS's default.
        strategy: A name of `homoode_tf.training.devices.strategy.NAMES`, or a strategy.

    Attributes:
        settings: The checked config.
        is_chief: Whether this process writes what the run leaves.
        images: The data set.
        plan: What is due when.
        augmentation: What is done to the training images.
        model: The classifier, built.
        state: Everything that changes in training.
        inputs: Batches on their replicas.
        evaluator: Evaluates the state's model.
        checkpoints: Of the state.

    Raises:
        ValueError: If the config is not allowed; the message names the field.
        DataNotFoundError: If the data set is not there.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        workdir: Workdir,
        data_dir: str | os.PathLike | None = None,
        strategy: str | tf.distribute.Strategy = "auto",
    ):
        self.settings = TrainingSettings.from_config(config)
        self.augmentation = read_section(data.Augmentation, config.augmentation, "augmentation")
        if isinstance(strategy, str):
            strategy = strategies.create(strategy)
        self.workdir = workdir
        self.strategy = strategy
        self.is_chief = strategies.is_chief(strategy)
        self.dataset = config.dataset
        self.images = data.load(
            config.dataset, data_dir=data_dir, validation_fraction=config.validation_fraction
        )
        info = self.images.info
        size = min(info.image_shape[:2])
        if self.augmentation.crop_padding >= size:
            raise ValueError(
                f"config.augmentation.crop_padding must be below {size}, the size of the images, "
                f"or a crop may hold nothing of them; got {self.augmentation.crop_padding}."
            )
        self.plan = Plan.make(self.settings, info.num_train)
        self.inputs = Inputs(
            self.images,
            self.settings.batch_size,
            strategy,
            self.settings.accumulation_steps,
        )
        # The one place for seeds: of Python, NumPy and TensorFlow, and so of every layer. Right
        # before the model, because preparing the data may draw random numbers, the first time.
        keras.utils.set_random_seed(self.settings.seed)
        with strategy.scope():
            self.model = models.build(
                config.model,
                info.image_shape,
                info.num_classes,
                info.mean,
                info.std,
                self.settings.precision,
            )
        if self.settings.jit_compile:
            xla.check(self.model, config.model, strategy)
        self.state = TrainState(self.model, self.settings, self.plan.total_steps, strategy)
        self.evaluator = Evaluator(self.state, self.inputs)
        self.checkpoints = Checkpoints(
            workdir.checkpoints,
            self.state.variables(),
            keep=self.settings.keep_checkpoints,
            writes=self.is_chief,
        )

    def initialise(self) -> None:
        """Sets what a run begins with and that depends on the training images."""
        if self.settings.whitened_stem:
            batches = self.images.train_batches(
                min(_WHITENING_IMAGES, self.images.info.num_train),
                seed=self.settings.seed,
                num_steps=1,
            )
            images, _ = next(iter(batches))
            whiten_stem(self.model, images, self.settings.seed)
            if self.state.average is not None:
                self.state.average.reset()

    def export(self) -> None:
        """Writes the model as it is now, with its averaged weights, to `saved_model/`."""
        info = self.images.info

        def write(path):
            export.save(
                self.model,
                path,
                info.image_shape,
                info.class_names,
                self.settings.export_step_control,
            )

        with self.state.averaged_weights():
            if self.is_chief:
                self.workdir.replace_saved_model(write)
            else:
                # Reading some variables of a group of workers takes all of them.
                with tempfile.TemporaryDirectory() as discarded:
                    write(pathlib.Path(discarded) / "saved_model")

    def wait_for_workers(self) -> None:
        """Returns when every worker has got here, so that all see the chief's files."""

        @tf.function(autograph=False)
        def meet():
            self.strategy.run(lambda: sum_over_replicas([1.0]))

        meet()


def restore_best(
    config: ml_collections.ConfigDict,
    folder: Workdir,
    data_dir: str | os.PathLike | None = None,
    strategy: str | tf.distribute.Strategy = "auto",
) -> tuple[Run, int]:
    """Builds a run with the checkpoint that is best on validation.

    Args:
        config: The config that made the run.
        folder: The run's folder.
        data_dir: Where the data sets are, or None for TFDS's default.
        strategy: As of `Run`.

    Returns:
        The run and the step of the checkpoint.

    Raises:
        ValueError: If the config is not allowed, or was made by a version with other fields.
        DataNotFoundError: If the data set is not there.
        CheckpointError: If no whole checkpoint was evaluated on validation.
    """
    try:
        run = Run(config, folder, data_dir, strategy)
    except (KeyError, models.MissingFieldError) as error:
        raise WorkdirError(
            f"{folder.config} lacks a field that this version needs: {error}"
        ) from error
    return run, run.checkpoints.restore_best().step
