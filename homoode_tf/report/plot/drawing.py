# SPDX-License-Identifier: Apache-2.0
"""From the folder of a run to its figures and the numbers behind them."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.layers import ODELayer
from homoode_tf.report.plot import figures, saved_run
from homoode_tf.report.plot.diagnostics import Confusion, Projection, SolveSummary
from homoode_tf.report.plot.history import History
from homoode_tf.report.plot.trajectories import follow
from homoode_tf.solvers import SolverError
from homoode_tf.training.files.checkpoints import CheckpointError
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run, restore_best

LEARNING_CURVES = "learning_curves.png"
NFE = "nfe.png"
SOLVE = "solve.png"
TRAJECTORIES = "trajectories.png"
CONFUSION = "confusion_matrix.png"
DIAGNOSTICS = "diagnostics.json"

# Enough for quartiles to mean something.
_SOLVED_IMAGES = 64
# What a run may lack: figures that do not need it are still drawn.
_EXPECTED = (CheckpointError, OSError, SolverError, ValueError, tf.errors.OpError)


@dataclasses.dataclass
class Report:
    """What `draw` has done.

    Attributes:
        folder: Where the figures are.
        drawn: Names of the figures written.
        missing: Why figures could not be drawn: what the run lacks.
        senseless: Why figures were left out that make no sense for this run's model.
        summary: What the figures show, in a few lines.
        numbers: What `diagnostics.json` holds.
    """

    folder: pathlib.Path
    drawn: list[str] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    senseless: list[str] = dataclasses.field(default_factory=list)
    summary: list[str] = dataclasses.field(default_factory=list)
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)

    def path(self, name: str) -> pathlib.Path:
        """Where the figure `name` goes."""
        return self.folder / name

    @contextlib.contextmanager
    def trying(self, *names: str) -> Iterator[None]:
        """Within this context an error that a run may cause ends the figures `names` only."""
        try:
            yield
        except _EXPECTED as error:
            left_out = [name for name in names if name not in self.drawn]
            if left_out:
                reason = " ".join(str(error).split()) or type(error).__name__
                self.missing.append(f"{' and '.join(left_out)} could not be drawn: {reason}")


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
        ValueError: If `num_images` is not positive.
        OSError: If the output folder cannot be written.
    """
    if num_images < 1:
        raise InvalidValueError(f"num_images must be at least 1, got {num_images}.")
    folder = Workdir(workdir)
    config = saved_run.read_config(folder)
    report = Report(pathlib.Path(output or folder.directory / "figures").expanduser())
    report.folder.mkdir(parents=True, exist_ok=True)
    report.numbers.update(dataset=config.get("dataset"), complete=folder.read_result() is not None)
    with report.trying(LEARNING_CURVES, NFE):
        _draw_history(History.read(folder.metrics), report)
    if not report.numbers["complete"]:
        step = report.numbers.get("last_logged_step", 0)
        report.summary.append(f"The run is not finished; its last logged step is {step}.")
    with report.trying(SOLVE, TRAJECTORIES, CONFUSION):
        run, step = restore_best(config, folder, data_dir, "one_device")
        report.numbers["checkpoint_step"] = step
        with run.state.averaged_weights():
            _draw_solve(run, num_images, report)
            with report.trying(CONFUSION):
                _draw_confusion(run, report)
    text = json.dumps(report.numbers, default=_plain, allow_nan=False)
    report.path(DIAGNOSTICS).write_text(text + "\n", encoding="utf-8")
    return report


def _draw_history(history: History, report: Report) -> None:
    report.numbers["last_logged_step"] = history.last_step
    names = ("loss", "validation_loss", "accuracy", "validation_accuracy")
    curves = {name: history.series(name) for name in names}
    report.numbers["learning_curves"] = curves
    figures.learning_curves(report.path(LEARNING_CURVES), curves)
    report.drawn.append(LEARNING_CURVES)
    curves = {name: history.series(name) for name in ("nfe_forward", "nfe_backward")}
    if not any(series.values.any() for series in curves.values()):
        report.senseless.append(f"{NFE} is left out: metrics.jsonl counts no evaluations of F")
        return
    report.numbers["nfe"] = curves
    figures.evaluations(report.path(NFE), curves)
    report.drawn.append(NFE)


def _draw_solve(run: Run, num_images: int, report: Report) -> None:
    layer = run.model.implicit
    if not isinstance(layer, ODELayer):
        report.senseless.append(
            f"{SOLVE} and {TRAJECTORIES} are left out: the implicit layer is a "
            f"{type(layer).__name__}, not one that solves an ODE"
        )
        return
    with report.trying(SOLVE, TRAJECTORIES):
        images, labels = saved_run.first_test_images(run, max(num_images, _SOLVED_IMAGES))
        solved = follow(layer, images, call=run.model)
        summary = SolveSummary.make(solved)
        report.numbers["solve"] = summary
        figures.solve(report.path(SOLVE), summary)
        report.drawn.append(SOLVE)
        projection = Projection.make(solved, labels[:num_images])
        report.numbers["trajectories"] = projection
        figures.trajectories(report.path(TRAJECTORIES), projection, run.images.info.class_names)
        report.drawn.append(TRAJECTORIES)
        residuals = summary.step_residuals
        report.summary.append(
            f"The solver makes {summary.evaluations} evaluations of F in "
            f"{len(summary.step_sizes)} steps; the median residual is {residuals[0]:.3g} at t = 0 "
            f"and {residuals[-1]:.3g} at t = {summary.step_times[-1]:g}."
        )


def _draw_confusion(run: Run, report: Report) -> None:
    labels, predictions = saved_run.classify_test_split(run)
    confusion = Confusion.make(labels, predictions, run.images.info.class_names)
    report.numbers["confusion_matrix"] = confusion
    figures.confusion_matrix(report.path(CONFUSION), confusion)
    report.drawn.append(CONFUSION)
    report.summary.append(
        f"The checkpoint of step {report.numbers['checkpoint_step']} classifies "
        f"{confusion.accuracy:.2%} of {len(labels)} test images correctly."
    )


def _plain(value: Any) -> Any:
    """What JSON does not know: arrays and dataclasses."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
