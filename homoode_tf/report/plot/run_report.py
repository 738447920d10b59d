# SPDX-License-Identifier: Apache-2.0
"""From the folder of a run to its figures and the numbers behind them."""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import ml_collections
import numpy as np
import tensorflow as tf

from homoode_tf import disk
from homoode_tf.checks import check_path
from homoode_tf.errors import InvalidValueError, UserError
from homoode_tf.graph_errors import reason
from homoode_tf.layers import ODELayer
from homoode_tf.report.plot import figures
from homoode_tf.report.plot.figure_data import Confusion, Projection, SolveSummary
from homoode_tf.report.plot.metrics_history import History
from homoode_tf.report.plot.trajectories import follow
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run
from homoode_tf.training.trained_run import restore_best

DIAGNOSTICS = "diagnostics.json"

# Enough for quartiles to mean something.
_SOLVED_IMAGES = 64
# What a run may lack: figures that do not need it are still drawn.
_EXPECTED = (OSError, UserError, tf.errors.OpError)


@dataclasses.dataclass
class Report:
    """What `draw` has done.

    Attributes:
        folder: Where the figures are.
        drawn: Names of the figures written.
        failed: Why figures could not be drawn: what the run lacks.
        not_applicable: Why figures were left out that make no sense for this run's model.
        summary: What the figures show, in a few lines.
        numbers: What `diagnostics.json` holds.
    """

    folder: pathlib.Path
    drawn: list[str] = dataclasses.field(default_factory=list)
    failed: list[str] = dataclasses.field(default_factory=list)
    not_applicable: list[str] = dataclasses.field(default_factory=list)
    summary: list[str] = dataclasses.field(default_factory=list)
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)

    def add(self, name: str, draw_figure: Callable[..., None], numbers: Any, *details) -> None:
        """Draws the figure `name` of its numbers, and keeps these."""
        self.numbers[name] = numbers
        draw_figure(self.folder / f"{name}.png", numbers, *details)
        self.drawn.append(f"{name}.png")

    @contextlib.contextmanager
    def trying(self, *names: str) -> Iterator[None]:
        """Within this context an error that a run may cause ends the figures `names` only."""
        try:
            yield
        except _EXPECTED as error:
            left_out = [f"{name}.png" for name in names if f"{name}.png" not in self.drawn]
            if left_out:
                why = f"could not be drawn: {disk.remedy(error, reason(error))}"
                self.failed.append(f"{' and '.join(left_out)} {why}")


def draw(
    workdir: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    output: str | os.PathLike | None = None,
    num_images: int = 8,
) -> Report:
    """Draws how a run learnt, how its solver goes, and what its classifier confuses.

    The weights are those of the checkpoint that is best on validation, averaged where the run
    averages them. Nothing in the run's folder is changed, but for the figures.

    Args:
        workdir: The run's folder.
        data_dir: Where the data sets are, or None for TFDS's default.
        output: Where the figures go; None is `figures/` in the run's folder.
        num_images: Number of test images whose trajectories are drawn.

    Returns:
        What was drawn and what was not.

    Raises:
        WorkdirError: If the folder holds no run.
        InvalidValueError: If `num_images` is not positive.
        OSError: If the output folder cannot be written.
    """
    if num_images < 1:
        raise InvalidValueError(f"num_images must be at least 1, got {num_images}.")
    folder = Workdir(workdir)
    config = ml_collections.ConfigDict(folder.read_config()).lock()
    report = Report(pathlib.Path(check_path("output", output or folder.directory / "figures")))
    report.folder.mkdir(parents=True, exist_ok=True)
    complete = folder.read_result() is not None
    report.numbers.update(dataset=config.get("dataset"), complete=complete)
    with report.trying("learning_curves", "nfe"):
        _draw_history(History.read(folder.metrics), report)
    if not complete:
        step = report.numbers.get("last_logged_step", 0)
        report.summary.append(f"The run is not finished; its last logged step is {step}.")
    with report.trying("solve", "trajectories", "confusion_matrix"):
        run, step = restore_best(config, folder, data_dir, "one_device")
        report.numbers["checkpoint_step"] = step
        with run.state.averaged_weights():
            _draw_solve(run, num_images, report)
            with report.trying("confusion_matrix"):
                _draw_confusion(run, report)
    text = json.dumps(report.numbers, default=_plain, allow_nan=False)
    disk.write_atomically(report.folder / DIAGNOSTICS, text + "\n")
    return report


def _draw_history(history: History, report: Report) -> None:
    report.numbers["last_logged_step"] = history.last_step
    names = ("loss", "validation_loss", "accuracy", "validation_accuracy")
    curves = {name: history.series(name) for name in names}
    report.add("learning_curves", figures.learning_curves, curves)
    curves = {name: history.series(name) for name in ("nfe_forward", "nfe_backward")}
    if any(series.values.any() for series in curves.values()):
        report.add("nfe", figures.evaluations, curves)
    else:
        report.not_applicable.append(
            "nfe.png is left out: metrics.jsonl counts no evaluations of F"
        )


def _draw_solve(run: Run, num_images: int, report: Report) -> None:
    layer = run.model.implicit
    if not isinstance(layer, ODELayer):
        report.not_applicable.append(
            "solve.png and trajectories.png are left out: the implicit layer is a "
            f"{type(layer).__name__}, not one that solves an ODE"
        )
        return
    with report.trying("solve", "trajectories"):
        batches = run.images.evaluation_batches("test", max(num_images, _SOLVED_IMAGES))
        images, labels = next(iter(batches))
        solved = follow(layer, run.model.condition(images))
        summary = SolveSummary.make(solved)
        report.add("solve", figures.solve, summary)
        projection = Projection.make(solved, labels[:num_images].numpy())
        names = run.images.info.class_names
        report.add("trajectories", figures.trajectories, projection, names)
        residuals = summary.step_residuals
        report.summary.append(
            f"The solver makes {summary.evaluations} evaluations of F in "
            f"{len(summary.step_sizes)} steps; the median residual is {residuals[0]:.3g} at t = 0 "
            f"and {residuals[-1]:.3g} at t = {summary.step_times[-1]:g}."
        )


def _draw_confusion(run: Run, report: Report) -> None:
    labels, predictions = _classify_test_split(run)
    confusion = Confusion.make(labels, predictions, run.images.info.class_names)
    report.add("confusion_matrix", figures.confusion_matrix, confusion)
    report.summary.append(
        f"The checkpoint of step {report.numbers['checkpoint_step']} classifies "
        f"{confusion.accuracy:.2%} of {len(labels)} test images correctly."
    )


def _classify_test_split(run: Run) -> np.ndarray:
    """Labels and predicted classes of the test images, in the batches that the evaluation makes."""

    @tf.function(autograph=False)
    def classify(images):
        return tf.argmax(run.model(images, training=False), axis=-1)

    batches, num_batches = run.inputs.evaluation("test")
    found = [
        tf.boolean_mask([labels, classify(images)], weights > 0, axis=1)
        for images, labels, weights in itertools.islice(batches, num_batches)
    ]
    return tf.concat(found, axis=1).numpy()


def _plain(value: Any) -> Any:
    """What JSON does not know: arrays and dataclasses."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
