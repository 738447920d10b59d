# SPDX-License-Identifier: Apache-2.0
"""The parts of a run, built from its settings."""

import dataclasses
import operator
import os
import pathlib
import tempfile
from collections.abc import Sequence

import keras
import tensorflow as tf

from homoode_tf import data, models
from homoode_tf.errors import InvalidValueError
from homoode_tf.serving import export
from homoode_tf.training import early_solver, fine_tuning
from homoode_tf.training.devices import agreement, precision, xla
from homoode_tf.training.devices import strategy as strategies
from homoode_tf.training.evaluation import Evaluator
from homoode_tf.training.files.checkpoints import Checkpoints, Record
from homoode_tf.training.files.workdir import Workdir, as_json
from homoode_tf.training.inputs import Inputs
from homoode_tf.training.milestones import Milestones
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.state import TrainState
from homoode_tf.training.step import sum_over_replicas
from homoode_tf.training.whitening import whiten_stem
from homoode_tf.version import __version__

# Their patches are a million, for 27 x 27 moments.
_WHITENING_IMAGES = 5000


class Run:
    """Data, model, state, checkpoints and evaluation of one run. Building it writes nothing.

    Args:
        settings: The whole config.
        workdir: The run's folder.
        data_dir: Where the data sets are, or None for TFDS's default.
        strategy: A name of `homoode_tf.training.devices.strategy.NAMES`, or a strategy.
        origins: `Workdir.origins` of the config that makes or has made the checkpoints.

    Attributes:
        settings: The config, with the precision that the devices compute in.
        is_chief: Whether this process writes what the run leaves.
        images: The data set.
        milestones: What is due when.
        inputs: Batches on their replicas.
        model: The classifier, built.
        early_solver: Of the steps before `milestones.early_steps`; None where there are none.
        state: Everything that changes in training.
        evaluator: Evaluates the state's model.
        origins: As given.
        checkpoints: Of the state.

    Raises:
        InvalidValueError: If the settings do not fit the data or the devices, or are not those of
            the other workers; the message names the field.
        DataNotFoundError: If the data set is not there.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        workdir: Workdir,
        data_dir: str | os.PathLike | None = None,
        strategy: str | tf.distribute.Strategy = "auto",
        origins: Sequence[str] = ("",),
    ):
        self.workdir = workdir
        self.origins = origins
        self.strategy = strategies.create(strategy) if isinstance(strategy, str) else strategy
        self.is_chief = strategies.is_chief(self.strategy)
        chosen = precision.choose(settings.precision, self.strategy)
        self.settings = settings = dataclasses.replace(settings, precision=chosen)
        # Before the model is built: workers of other models would wait for each other for ever.
        fields = [name for name, *_ in TrainingSettings.declared()]
        config = {name: as_json(operator.attrgetter(name)(settings)) for name in fields}
        code = {"the code": __version__, "TensorFlow": tf.__version__}
        agreement.check(self.strategy, config | code)
        self.images = data.load(
            settings.dataset,
            data_dir=data_dir,
            known=workdir.read_data(),
            **{name: getattr(settings, name) for name in data.FIELDS},
        )
        info = self.images.info
        size, padding = min(info.image_shape[:2]), settings.augmentation.crop_padding
        if padding >= size:
            raise InvalidValueError(
                f"config.augmentation.crop_padding must be below {size}, the size of the images, "
                f"or a crop may hold nothing of them; got {padding}."
            )
        self.milestones = Milestones(settings, info.num_train)
        self.inputs = Inputs(self.images, settings, self.strategy)
        # The one place for seeds: of Python, NumPy and TensorFlow, and so of every layer. Right
        # before the model, because preparing the data may draw random numbers, the first time.
        keras.utils.set_random_seed(settings.seed)
        with self.strategy.scope():
            self.model = self._build_model(settings.precision)
        self.early_solver = early_solver.make(settings.early_solver, self.model)
        fine_tuning.freeze(self.model, settings.freeze)
        if settings.jit_compile:
            xla.check(self.model, settings.model, self.strategy)
        total_steps = self.milestones.total_steps
        self.state = TrainState(self.model, settings, total_steps, self.strategy)
        self.evaluator = Evaluator(self.state, self.inputs)
        variables, keep = self.state.variables(), settings.keep_checkpoints
        self.checkpoints = Checkpoints(
            workdir.checkpoints, variables, keep, origins, writes=self.is_chief
        )

    def in_words(self) -> str:
        """Returns one line: data, model, parameters, device, precision and workdir."""
        info, model = self.images.info, self.model
        return (
            f"data {info.name} ({info.num_train:,} images, "
            f"{'x'.join(map(str, info.image_shape))}), "
            f"model {type(model.implicit).__name__} ({model.task_parameters:,} + "
            f"{model.initial_point_parameters} parameters), "
            f"device {strategies.in_words(self.strategy)}, "
            f"precision {self.settings.precision}, workdir {self.workdir.directory}"
        )

    def restore_or_initialise(self) -> Record:
        """Sets all variables to the last checkpoint's, or to what a new run begins with.

        Returns:
            Where the run stands.

        Raises:
            CheckpointError: If there are checkpoints, and none can be read.
            InvalidValueError: If other workers have restored another one.
        """
        record = self.checkpoints.restore_latest()
        info = self.images.info
        facts = {"the checkpoint": self.checkpoints.restored, "the data set": str(info)}
        agreement.check(self.strategy, facts)
        self.state.separate_random_states()
        if record is not None:
            return record
        if self.settings.init_from:
            said = fine_tuning.start_from(self.model, self.settings.init_from, self.settings.freeze)
            if self.is_chief:
                print(said, flush=True)
        elif self.settings.whitened_stem:
            number = min(_WHITENING_IMAGES, self.images.info.num_train)
            batches = self.images.train_batches(number, seed=self.settings.seed, num_steps=1)
            images, _ = next(iter(batches))
            whiten_stem(self.model, images, self.settings.seed)
        if self.state.average is not None:
            self.state.average.reset()
        return Record(step=0, complete=True, validation_accuracy=None, clock={})

    def export(self) -> None:
        """Writes the model as it is now, with its averaged weights.

        To `saved_model/1/`, a version as TensorFlow Serving looks for it, and to `model.keras`.
        """
        info = self.images.info
        step_control = self.settings.export_step_control

        with self.state.averaged_weights():
            model = self._model_to_export()

            def write(path):
                path.mkdir()
                export.save(model, path / "1", info.image_shape, info.class_names, step_control)

            if self.is_chief:
                self.workdir.replace_saved_model(write)
                self.workdir.replace_model(model.save)
            else:
                # Reading some variables of a group of workers takes all of them.
                with tempfile.TemporaryDirectory() as discarded:
                    write(pathlib.Path(discarded) / "saved_model")
                    model.save(pathlib.Path(discarded) / "model.keras")

    def _build_model(self, dtype_policy: str) -> models.ImageClassifier:
        info = self.images.info
        return models.build(
            self.settings.model,
            info.image_shape,
            info.num_classes,
            info.mean,
            info.std,
            dtype_policy,
            info.class_names,
        )

    def _model_to_export(self) -> models.ImageClassifier:
        """The model, or one that computes in float32 with its weights."""
        if self.settings.precision == "float32" or self.settings.export_precision == "training":
            return self.model
        model = self._build_model("float32")
        for variable, trained in zip(model.variables, self.model.variables, strict=True):
            variable.assign(trained.value)
        return model

    def wait_for_workers(self) -> None:
        """Returns when every worker has got here, so that all see the chief's files."""

        @tf.function(autograph=False)
        def meet():
            self.strategy.run(lambda: sum_over_replicas([1.0]))

        # Called as it is, TensorFlow would take the functions of several runs for one retraced.
        meet.get_concrete_function()()
