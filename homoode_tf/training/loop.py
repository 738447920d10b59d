# SPDX-License-Identifier: Apache-2.0
"""Training from a config to a result: the whole course of a run."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import ml_collections
import tensorflow as tf
from absl import logging

from homoode_tf.training.devices.strategy import explaining_a_lost_worker, largest_over_workers
from homoode_tf.training.files.checkpoints import Record
from homoode_tf.training.files.lock import LockedError, exclusive
from homoode_tf.training.files.workdir import Workdir, WorkdirError, flatten, plain
from homoode_tf.training.interruption import Interrupted, Interruption
from homoode_tf.training.non_finite import NonFiniteError
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.step import StepError, explaining_failures, make_train_step
from homoode_tf.training.watch.clock import Clock
from homoode_tf.training.watch.metrics import MetricsWriter
from homoode_tf.training.watch.profiler import Profiler
from homoode_tf.training.watch.progress import Progress

_PLAIN = contextlib.nullcontext()


def train(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    strategy: str | tf.distribute.Strategy = "auto",
    profile_steps: int = 0,
    second_best: bool = False,
) -> dict[str, Any]:
    """Trains, or goes on training, what `config` describes, evaluates it and exports it.

    Called again with the same arguments it resumes at the last checkpoint, and ends where an
    uninterrupted run would have. At the end the checkpoint with the highest validation accuracy
    is evaluated on the test split, once, and exported.

    `config.epochs`, and nothing else, may be raised on a run that was stopped or is complete. From
    its last checkpoint on it then has the learning rate of the longer run: the steps that were made
    stay as they are, the rate rises to where the longer cosine is, and falls to the new end.

    Args:
        config: What `get_config()` of a file in `configs/` returns.
        workdir: The run's folder.
        data_dir: Where the data sets are, or None for TFDS's default.
        strategy: A name of `homoode_tf.training.devices.strategy.NAMES`, or a strategy.
        profile_steps: How many steps are traced into `events/`, for TensorBoard's profile plugin;
            the first three of this process are left out. It changes nothing else.
        second_best: Whether the next best checkpoint may do at the end where the best is damaged.

    Returns:
        What stands in `result.json`: dataset, model, parameters (without the initial point's),
        precision, initial_point_parameters, steps, examples_per_second (of training steps after
        the first), seconds (in all), validation_accuracy, test_accuracy, test_loss, test_examples,
        class_names, nfe_forward and nfe_backward (means over the training steps of the last epoch,
        None if all were skipped), peak_memory_mb, and skipped_steps where steps may be skipped.

    Raises:
        InvalidValueError: If the config or `profile_steps` is not allowed.
        DataNotFoundError: If the data set is not there.
        WorkdirError: If the workdir is another config's, holds what no run has made, cannot be
            written, or its disk is full.
        LockedError: If another process trains in the workdir.
        CheckpointError: If a checkpoint cannot be written, if none can be read, if the best is
            damaged, or if one is another config's.
        NonFiniteError: If the loss becomes non-finite, in training or in an evaluation, or if all
            steps were skipped because theirs was.
        StepError: If a step fails in another way.
        WorkerLostError: If another worker of the run has ended or cannot be reached.
        Interrupted: On SIGINT or SIGTERM, after a checkpoint was saved.
    """
    settings = TrainingSettings.from_config(config)
    clock = Clock(settings.batch_size)
    folder = Workdir(workdir)
    profiler = Profiler(folder.events, profile_steps)
    if (result := _result_of(folder, config)) is not None:
        return result

    run = Run(settings, folder, data_dir, strategy, folder.origins(config))
    only_one = exclusive(folder.directory) if run.is_chief else contextlib.nullcontext()
    with (
        folder.explaining_a_full_disk(),
        only_one,
        run.checkpoints,
        explaining_a_lost_worker(run.strategy),
    ):
        # Again: before the lock was taken another run may have come and gone.
        if (result := _result_of(folder, config)) is not None:
            return result
        if run.is_chief:
            folder.clean()
        record = run.restore_or_initialise()
        if run.is_chief:
            # First: without it nothing tells that what else is written is this run's.
            folder.claim(config)
            folder.write_data(run.images.info)
        clock.continue_from(record.clock)
        with (
            Interruption(largest_over_workers(run.strategy)) as interruption,
            MetricsWriter(folder.metrics, folder.events, record.step, run.is_chief) as metrics,
            Progress(run.milestones.total_steps, record.step, quiet=not run.is_chief) as progress,
        ):
            progress.say(run.in_words())
            if not record.step:
                metrics.describe(
                    {name: json.loads(v) for name, v in flatten(plain(config)).items()}
                )
            else:
                progress.say(f"Resuming {folder.directory} at step {record.step}.")
            with profiler if run.is_chief else Profiler(folder.events, 0) as profiler:
                _make_steps(run, record, clock, interruption, metrics, progress, profiler)
            progress.say("Evaluating the best checkpoint on the test split.")
            result = _conclude(run, clock, interruption, progress, second_best)
    _say_complete(folder, result)
    return result


def _make_steps(
    run: Run,
    record: Record,
    clock: Clock,
    interruption: Interruption,
    metrics: MetricsWriter,
    progress: Progress,
    profiler: Profiler,
) -> None:
    """Makes the steps that are left, and between them what is due: metrics, checkpoints."""
    milestones, state = run.milestones, run.state
    train_step = make_train_step(state, run.settings)
    early_step = make_train_step(state, run.settings, run.early_solver)
    batches = run.inputs.train(record.step, milestones.total_steps)
    # A run that was stopped in the midst of an evaluation goes on with that.
    step, saved_step, is_due = record.step, record.step, not record.complete
    if milestones.begins_epoch(step) and record.complete and step < milestones.total_steps:
        # As it would have been after this step, had it not been the last one of a shorter run.
        state.epoch_metrics.reset()

    def save(validation_accuracy: float | None = None) -> None:
        state.synchronise()
        run.checkpoints.save(Record(step, not is_due, validation_accuracy, clock.read()))

    try:
        while is_due or step < milestones.total_steps:
            if not is_due:
                interruption.check()
                make = early_step if step < milestones.early_steps else train_step
                is_compiled = step in (record.step, milestones.early_steps)
                with (
                    _compiling(run, step, clock, progress) if is_compiled else _PLAIN,
                    explaining_failures(f"step {step + 1}"),
                    profiler.step(step + 1),
                ):
                    make(batches)
                step += 1
                progress.made(step)
                is_due = milestones.any_at(step)
                if profiler.is_done:
                    state.wait_for_device()
                    with clock.paused(step):
                        progress.say(profiler.write())
                continue

            state.non_finite_steps.check()
            with clock.paused(step):
                evaluates = milestones.evaluates(step)
                validation = _validate(run, interruption, progress) if evaluates else None
                if milestones.logs(step):
                    _log(run, step, clock, validation, metrics, progress)
                if milestones.begins_epoch(step) and step < milestones.total_steps:
                    state.epoch_metrics.reset()
                is_due = False
                if milestones.saves(step):
                    save(validation["accuracy"] if validation else None)
                    saved_step = step
    except Interrupted as error:
        if saved_step != step:
            state.non_finite_steps.check()
            save()
        run.checkpoints.wait()
        message = f"stopped by {error.signal_name}; step {step} is saved"
        raise Interrupted(error.signal_number, message) from None


@contextlib.contextmanager
def _compiling(run: Run, step: int, clock: Clock, progress: Progress) -> Iterator[None]:
    """The step after `step` is compiled, so that its time says nothing of a step's."""
    run.state.wait_for_device()
    clock.stop_training(step)
    progress.doing("compiling")
    yield
    run.state.wait_for_device()
    clock.start_training(step + 1)
    progress.doing("")


def _evaluate(
    run: Run, split: str, interruption: Interruption, progress: Progress
) -> dict[str, float]:
    def between(what: str) -> None:
        interruption.check()
        progress.doing(what)

    found = run.evaluator.evaluate(split, between)
    progress.doing("")
    return found


def _validate(run: Run, interruption: Interruption, progress: Progress) -> dict[str, float] | None:
    """Evaluates on validation; None where that failed and `config.non_finite` skips failures."""
    try:
        return _evaluate(run, "validation", interruption, progress)
    except (NonFiniteError, StepError) as error:
        if run.settings.non_finite != "skip":
            raise
        logging.warning("Left out, for config.non_finite=skip: %s", error)
        return None


def _log(
    run: Run,
    step: int,
    clock: Clock,
    validation: dict[str, float] | None,
    metrics: MetricsWriter,
    progress: Progress,
) -> None:
    """Writes and shows what there is to say after a step."""
    line = _metrics_of(run, step, clock, validation)
    metrics.write(step, line)
    if validation is not None:
        metrics.show(step, run.evaluator.pictures())
    progress.update(step, line)


def _metrics_of(
    run: Run, step: int, clock: Clock, validation: dict[str, float] | None
) -> dict[str, float]:
    """Returns the line of metrics after a step: means since the line before, and the rest."""
    state = run.state
    means = state.recent_metrics.means()
    state.recent_metrics.reset()
    named = ("loss", "accuracy", "added_loss", "nfe_forward", "nfe_backward")
    line = {
        "epoch": run.milestones.epoch(step),
        **{name: means[name] for name in named},
        "learning_rate": float(state.task_optimizer.learning_rate),
        "examples_per_second": clock.examples_per_second,
        "seconds": clock.seconds,
    }
    if state.may_skip:
        line["skipped_steps"] = state.non_finite_steps.num_skipped
    if state.loss_scale is not None:
        line["loss_scale"] = float(state.loss_scale.value)
    if validation is not None:
        line["validation_loss"] = validation["loss"]
        line["validation_accuracy"] = validation["accuracy"]
    return line


def _conclude(
    run: Run, clock: Clock, interruption: Interruption, progress: Progress, second_best: bool
) -> dict[str, Any]:
    """Evaluates the best checkpoint on the test split and writes what the run leaves."""
    run.checkpoints.wait()
    run.wait_for_workers()
    run.state.non_finite_steps.check_some_made(run.milestones.total_steps)
    skipped = run.state.non_finite_steps.num_skipped
    last_epoch = run.state.epoch_metrics.means()
    best = run.checkpoints.restore_best(second_best)
    test = _evaluate(run, "test", interruption, progress)
    progress.doing("exporting")
    run.export()
    result = {
        "dataset": run.images.info.name,
        "model": type(run.model.implicit).__name__,
        "parameters": run.model.task_parameters,
        "precision": run.settings.precision,
        "initial_point_parameters": run.model.initial_point_parameters,
        "steps": run.milestones.total_steps,
        "examples_per_second": round(clock.examples_per_second, 2),
        "seconds": round(clock.seconds, 1),
        "validation_accuracy": best.validation_accuracy,
        "test_accuracy": test["accuracy"],
        "test_loss": test["loss"],
        "test_examples": test["examples"],
        "class_names": list(run.images.info.class_names),
        **{
            name: value if (value := last_epoch[name]) is None else round(value, 2)
            for name in ("nfe_forward", "nfe_backward")
        },
        "peak_memory_mb": round(clock.peak_memory_mb, 1),
    }
    if run.state.may_skip:
        result["skipped_steps"] = skipped
    if run.is_chief:
        run.workdir.write_result(result, run.origins[0])
    run.wait_for_workers()
    return result


def _result_of(folder: Workdir, config: ml_collections.ConfigDict) -> dict[str, Any] | None:
    """Opens the folder; returns what a complete run of this config left there, and says so."""
    folder.open(config)
    result = None if folder.is_longer(config) else folder.read_result(config)
    if result is not None:
        if not folder.config.exists():
            # Several workers may find so: one writes it.
            with contextlib.suppress(LockedError), exclusive(folder.directory):
                folder.claim(config)
        _say_complete(folder, result)
    return result


def _say_complete(folder: Workdir, result: dict[str, Any]) -> None:
    try:
        description = (
            f"{result['dataset']}, {result['steps']} steps, "
            f"validation accuracy {result['validation_accuracy']:.2%}, "
            f"test accuracy {result['test_accuracy']:.2%}"
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WorkdirError(
            f"{folder.result} is damaged ({error!r}). Remove it and give the same command "
            "again: it is written anew from the checkpoints."
        ) from error
    print(f"The run in {folder.directory} is complete: {description}.", flush=True)
