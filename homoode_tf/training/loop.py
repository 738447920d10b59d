# SPDX-License-Identifier: Apache-2.0
"""Training from a config to a result: the whole course of a run."""

import contextlib
import os
from typing import Any

import ml_collections
import tensorflow as tf

from homoode_tf.graph_errors import reason_lines
from homoode_tf.training.devices import strategy as strategies
from homoode_tf.training.files.checkpoints import Record
from homoode_tf.training.files.lock import exclusive
from homoode_tf.training.files.workdir import Workdir, WorkdirError
from homoode_tf.training.interruption import Interrupted, Interruption
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.step import make_train_step
from homoode_tf.training.watch.clock import Clock
from homoode_tf.training.watch.metrics import MetricsWriter
from homoode_tf.training.watch.profiler import Profiler
from homoode_tf.training.watch.progress import Progress

# What a worker gets when one of the others is gone.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError)
_LONGEST_REASON = 500


class StepError(RuntimeError):
    """A training step failed."""


class WorkerLostError(RuntimeError):
    """Another worker of the run has ended, or cannot be reached."""


def train(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    strategy: str | tf.distribute.Strategy = "auto",
    profile_steps: int = 0,
) -> dict[str, Any]:
    """Trains, or goes on training, what `config` describes, evaluates it and exports it.

    Called again with the same arguments it resumes at the last checkpoint, and ends where an
    uninterrupted run would have. At the end the checkpoint with the highest validation accuracy
    is evaluated on the test split, once, and exported.

    Args:
        config: What `get_config()` of a file in `configs/` returns.
        workdir: The run's folder.
        data_dir: Where the data sets are, or None for TFDS's default.
        strategy: A name of `homoode_tf.training.devices.strategy.NAMES`, or a strategy.
        profile_steps: How many steps are traced into `events/`, for TensorBoard's profile plugin;
            the first three of this process are left out. It changes nothing else.

    Returns:
        What stands in `result.json`: dataset, model, parameters (without the initial point's),
        initial_point_parameters, steps, examples_per_second (of training steps after the first),
        seconds (in all), validation_accuracy, test_accuracy, test_loss, test_examples,
        nfe_forward and nfe_backward (means over the training steps of the last epoch),
        peak_memory_mb.

    Raises:
        ValueError: If the config or `profile_steps` is not allowed.
        DataNotFoundError: If the data set is not there.
        WorkdirError: If the workdir is another config's, cannot be written, or its disk is full.
        LockedError: If another process trains in the workdir.
        CheckpointError: If a checkpoint cannot be written, or none can be read.
        NonFiniteError: If the loss becomes non-finite.
        WorkerLostError: If another worker of the run has ended or cannot be reached.
        Interrupted: On SIGINT or SIGTERM, after a checkpoint was saved.
    """
    clock = Clock()
    TrainingSettings.from_config(config)
    folder = Workdir(workdir)
    profiler = Profiler(folder.events, profile_steps)
    folder.open(config)
    if (result := folder.read_result()) is not None:
        try:
            description = describe(result)
        except (KeyError, TypeError, ValueError) as error:
            raise WorkdirError(
                f"{folder.result} is damaged ({error!r}). Remove it and give the same command "
                "again: it is written anew from the checkpoints."
            ) from error
        print(f"The run in {folder.directory} is complete: {description}.", flush=True)
        return result

    run = Run(config, folder, data_dir, strategy)
    lock = exclusive(folder.directory) if run.is_chief else contextlib.nullcontext()
    with folder.explaining_a_full_disk(), lock, run.checkpoints:
        if run.is_chief:
            folder.claim(config)
        try:
            return _train(run, clock, profiler if run.is_chief else Profiler(folder.events, 0))
        except _LOST as error:
            if not strategies.has_several_workers(run.strategy):
                raise
            raise WorkerLostError(
                f"another worker of this run is gone ({_reason(error)}). Start all workers again "
                "with the same command: they go on at the last checkpoint."
            ) from error


def _train(run: Run, clock: Clock, profiler: Profiler) -> dict[str, Any]:
    folder = run.workdir
    record = run.checkpoints.restore_latest()
    run.state.separate_random_states()
    if record is None:
        run.initialise()
        record = Record(step=0, complete=True, validation_accuracy=None, clock={})
    else:
        clock.continue_from(record.clock)

    with (
        Interruption(strategies.largest_over_workers(run.strategy)) as interruption,
        MetricsWriter(folder.metrics, folder.events, record.step, run.is_chief) as metrics,
        Progress(run.plan.total_steps, record.step, quiet=not run.is_chief) as progress,
    ):
        if record.step:
            progress.say(f"Resuming {folder.directory} at step {record.step}.")
        with profiler:
            course = _Course(run, clock, metrics, progress, interruption, record, profiler)
            course.go_to_the_end()
        progress.say("Evaluating the best checkpoint on the test split.")
        result = _conclude(run, clock, interruption)

    print(f"The run in {folder.directory} is complete: {describe(result)}.", flush=True)
    return result


class _Course:
    """The steps of a run, and what is due between them: metrics, evaluation, checkpoints."""

    def __init__(
        self,
        run: Run,
        clock: Clock,
        metrics: MetricsWriter,
        progress: Progress,
        interruption: Interruption,
        record: Record,
        profiler: Profiler,
    ):
        self._run, self._clock, self._interruption = run, clock, interruption
        self._metrics, self._progress, self._profiler = metrics, progress, profiler
        self._step = record.step
        self._due = not record.complete
        self._saved = True
        self._timed_from: int | None = None
        self._train_step = make_train_step(run.state, run.settings)
        self._batches = run.inputs.train(
            seed=run.settings.seed,
            first_step=record.step,
            num_steps=run.plan.total_steps,
            augmentation=run.augmentation,
        )

    def go_to_the_end(self) -> None:
        """Makes all steps that are left."""
        try:
            while True:
                if self._due:
                    self._do_what_is_due()
                if self._step == self._run.plan.total_steps:
                    return
                self._interruption.check()
                self._make_a_step()
        except Interrupted as error:
            if not self._saved:
                self._run.state.faults.check()
                self._save()
            self._run.checkpoints.wait()
            message = f"stopped by {error.signal_name}; step {self._step} is saved"
            raise Interrupted(error.signal_number, message) from None

    def _make_a_step(self) -> None:
        try:
            with self._profiler.step(self._step + 1):
                self._train_step(self._batches)
        except _LOST:
            raise  # with several workers it is not the step's fault
        except tf.errors.OpError as error:
            raise StepError(
                f"step {self._step + 1} failed: {_reason(error)}. Earlier checkpoints are kept."
            ) from error
        self._step += 1
        self._due = self._run.plan.pauses(self._step)
        self._saved = False
        if self._timed_from is None:
            # The first step includes its compilation: time from the second one.
            self._run.state.step.numpy()
            self._start_clock()
        if self._profiler.is_done:
            self._write_profile()

    def _write_profile(self) -> None:
        self._run.state.step.numpy()
        self._stop_clock()
        self._progress.say(self._profiler.write())
        self._start_clock()

    def _do_what_is_due(self) -> None:
        run, plan, step = self._run, self._run.plan, self._step
        run.state.faults.check()
        self._stop_clock()
        validation = None
        if plan.evaluates(step):
            validation = run.evaluator.evaluate("validation", self._interruption.check)
        if plan.logs(step):
            self._log(validation)
        if plan.begins_epoch(step) and step < plan.total_steps:
            run.state.epoch.reset()
        self._due = False
        if plan.saves(step):
            self._save(validation["accuracy"] if validation else None)
        self._start_clock()

    def _log(self, validation: dict[str, float] | None) -> None:
        run = self._run
        totals = run.state.period.read()
        run.state.period.reset()
        line = {
            "epoch": run.plan.epoch(self._step),
            "loss": totals["loss"],
            "accuracy": totals["accuracy"],
            "initial_point_loss": totals["initial_point_loss"],
            "nfe_forward": totals["nfe_forward"],
            "nfe_backward": totals["nfe_backward"],
            "learning_rate": float(run.state.task_optimizer.learning_rate),
            "examples_per_second": self._clock.examples_per_second,
            "seconds": self._clock.seconds,
        }
        if run.state.may_skip:
            line["skipped_steps"] = run.state.faults.num_skipped
        if run.state.loss_scale is not None:
            line["loss_scale"] = float(run.state.loss_scale.value)
        if validation is not None:
            line["validation_loss"] = validation["loss"]
            line["validation_accuracy"] = validation["accuracy"]
        self._metrics.write(self._step, line)
        self._progress.update(self._step, line)

    def _save(self, validation_accuracy: float | None = None) -> None:
        self._run.state.synchronise()
        self._run.checkpoints.save(
            Record(self._step, not self._due, validation_accuracy, self._clock.read())
        )
        self._saved = True

    def _start_clock(self) -> None:
        self._timed_from = self._step
        self._clock.start_training()

    def _stop_clock(self) -> None:
        if self._timed_from is not None:
            examples = (self._step - self._timed_from) * self._run.settings.batch_size
            self._clock.stop_training(examples)


def _conclude(run: Run, clock: Clock, interruption: Interruption) -> dict[str, Any]:
    """Evaluates the best checkpoint on the test split and writes what the run leaves."""
    run.checkpoints.wait()
    run.wait_for_workers()
    last_epoch = run.state.epoch.read()
    best = run.checkpoints.restore_best()
    test = run.evaluator.evaluate("test", interruption.check)
    run.export()
    result = {
        "dataset": run.dataset,
        "model": type(run.model.implicit).__name__,
        "parameters": run.model.task_parameters,
        "initial_point_parameters": run.model.initial_point_parameters,
        "steps": run.plan.total_steps,
        "examples_per_second": round(clock.examples_per_second, 2),
        "seconds": round(clock.seconds, 1),
        "validation_accuracy": best.validation_accuracy,
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        "test_examples": test["examples"],
        "nfe_forward": round(last_epoch["nfe_forward"], 2),
        "nfe_backward": round(last_epoch["nfe_backward"], 2),
        "peak_memory_mb": round(clock.peak_memory_mb, 1),
    }
    if run.is_chief:
        run.workdir.write_result(result)
    run.wait_for_workers()
    return result


def _reason(error: tf.errors.OpError) -> str:
    return " ".join(reason_lines(error))[:_LONGEST_REASON]


def describe(result: dict[str, Any]) -> str:
    """Returns a result in one line."""
    return (
        f"{result['dataset']}, {result['steps']} steps, "
        f"validation accuracy {result['validation_accuracy']:.2%}, "
        f"test accuracy {result['test_accuracy']:.2%}"
    )
