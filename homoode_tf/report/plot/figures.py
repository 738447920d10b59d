# SPDX-License-Identifier: Apache-2.0
"""The figures of a run, drawn without a display."""

import pathlib
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from homoode_tf.report.plot.diagnostics import Confusion, Projection, SolveSummary
from homoode_tf.report.plot.history import Series

_MAIN, _SECOND = "#2a6f97", "#d1495b"
# Beyond so many classes, numbers and names in the cells of a confusion matrix are not legible.
_LEGIBLE_CLASSES = 20
# Beyond so many points, markers hide the line.
_MARKED_POINTS = 40
_WIDE_RANGE = 30


def learning_curves(path: pathlib.Path, curves: Mapping[str, Series]) -> None:
    """Draws loss and accuracy, of training and validation, against the step.

    Args:
        path: The file to write.
        curves: The series by their names in `metrics.jsonl`; those of length 0 are not drawn.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for axis, name, factor in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        _line(axis, curves[name], "training (mean since the last point)", _MAIN, factor)
        _line(axis, curves[f"validation_{name}"], "validation", _SECOND, factor)
    if all((curves[name].values > 0).all() for name in ("loss", "validation_loss")):
        loss.set_yscale("log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss.yaxis.set_major_formatter("{x:g}")
        loss.yaxis.set_minor_locator(NullLocator())
    loss.set_ylabel("loss: mean cross-entropy (nats per image)")
    accuracy.set_ylabel("accuracy (% of the images)")
    for axis in (loss, accuracy):
        _finish_steps(axis)
    handles, labels = loss.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    _save(figure, path)


def evaluations(path: pathlib.Path, curves: Mapping[str, Series]) -> None:
    """Draws the evaluations of F of a training step, forward and backward.

    Args:
        path: The file to write.
        curves: The series `nfe_forward` and `nfe_backward`; those of length 0 are not drawn.
    """
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axis = figure.subplots()
    _line(axis, curves["nfe_forward"], "forward pass", _MAIN)
    _line(axis, curves["nfe_backward"], "backward pass", _SECOND)
    axis.set_ylabel("evaluations of F per training step")
    axis.set_ylim(0, 1.15 * max(series.values.max() for series in curves.values() if len(series)))
    _finish_steps(axis)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    _save(figure, path)


def solve(path: pathlib.Path, summary: SolveSummary) -> None:
    """Draws the residual along t over the steps that the solver takes.

    Args:
        path: The file to write.
        summary: What to draw.
    """
    figure = Figure(figsize=(6.5, 5.6), layout="constrained")
    residual, size = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    times, quantiles = summary.times, summary.residuals
    for low, high, alpha, label in (
        ("0", "100", 0.15, "all images"),
        ("25", "75", 0.35, "middle half of the images"),
    ):
        residual.fill_between(
            times, quantiles[low], quantiles[high], color=_MAIN, alpha=alpha, lw=0, label=label
        )
    residual.plot(times, quantiles["50"], color=_MAIN, label="median")
    residual.plot(
        summary.step_times, summary.step_residuals, "o", color=_MAIN, label="median at the steps"
    )
    residual.set_ylabel("residual |z'(t)| (root mean square,\nunits of z per unit of t)")
    if 0 < quantiles["0"].min() * _WIDE_RANGE < quantiles["100"].max():
        residual.set_yscale("log")
    else:
        residual.ticklabel_format(axis="y", useOffset=False)
    size.stairs(summary.step_sizes, summary.step_times, fill=True, color=_MAIN, alpha=0.35)
    size.stairs(summary.step_sizes, summary.step_times, color=_MAIN)
    size.plot(summary.step_times[1:], summary.step_sizes, "o", color=_MAIN)
    size.set_ylim(0, 1.2 * summary.step_sizes.max())
    size.set_ylabel("step size of the solver\n(units of t)")
    size.set_xlabel("time t of the solve (dimensionless)")
    rejected = summary.rejected_steps
    counts = [
        f"{summary.images} test images",
        _count(len(summary.step_sizes), "step"),
        *([] if rejected is None else [f"{rejected} rejected"]),
        _count(summary.evaluations, "evaluation") + " of F",
    ]
    size.set_title(", ".join(counts), fontsize=9)
    for axis in (residual, size):
        _finish(axis)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    _save(figure, path)


def trajectories(path: pathlib.Path, projection: Projection, class_names: tuple[str, ...]) -> None:
    """Draws z(t) of some images in the plane of two principal axes, coloured by class.

    Args:
        path: The file to write.
        projection: What to draw.
        class_names: Names of all classes.
    """
    figure = Figure(figsize=(7.5, 5.4), layout="constrained")
    axis = figure.subplots()
    colours = _colours(np.unique(projection.labels))
    for label, curve, steps in zip(
        projection.labels, projection.curves, projection.steps, strict=True
    ):
        colour = colours[label]
        axis.plot(*curve.T, color=colour, lw=1.2)
        axis.plot(*steps[1:-1].T, ".", color=colour, ms=6)
        axis.plot(*steps[-1], "*", color=colour, ms=13, mec="white", mew=0.6, zorder=3)
        if not projection.shared_start:
            axis.plot(*steps[0], "s", color=colour, ms=6, zorder=3)
    start = "z(0)"
    if projection.shared_start:
        axis.plot(*projection.steps[0, 0], "s", color="black", ms=8, zorder=4)
        start = "z(0), the same for all"
    handles = [
        Line2D([], [], color=colour, lw=2, label=class_names[label])
        for label, colour in colours.items()
    ]
    handles += [
        Line2D([], [], marker=marker, color="black", ls="", ms=ms, label=text)
        for marker, ms, text in (("s", 7, start), (".", 7, "end of a step"), ("*", 11, "z(T)"))
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, title="class")
    first, second = (f"{share:.1%} of the variance" for share in projection.explained_variance)
    axis.set_xlabel(f"first principal axis (units of z; {first})")
    axis.set_ylabel(f"second principal axis (units of z; {second})")
    axis.set_title(
        f"States z(t) of {_count(len(projection.labels), 'test image')}, averaged over positions",
        fontsize=10,
    )
    axis.set_aspect("equal", adjustable="datalim")
    _finish(axis)
    _save(figure, path)


def confusion_matrix(path: pathlib.Path, confusion: Confusion) -> None:
    """Draws the confusion matrix: shares of each true class as colours, numbers of images as text.

    Args:
        path: The file to write.
        confusion: What to draw.
    """
    classes = len(confusion.class_names)
    size = min(4.5 + 0.25 * classes, 10)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axis = figure.subplots()
    totals = confusion.matrix.sum(axis=1, keepdims=True)
    shares = 100 * confusion.matrix / np.maximum(totals, 1)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axis, shrink=0.8, label="share of the true class (%)")
    if classes <= _LEGIBLE_CLASSES:
        longest = max(map(len, confusion.class_names))
        axis.set_xticks(
            range(classes),
            confusion.class_names,
            rotation=45 if longest > 3 else 0,
            ha="right" if longest > 3 else "center",
            rotation_mode="anchor",
        )
        axis.set_yticks(range(classes), confusion.class_names)
        for (row, column), number in np.ndenumerate(confusion.matrix):
            if number:
                colour = "white" if shares[row, column] > 50 else "black"
                axis.text(
                    column, row, str(number), ha="center", va="center", color=colour, fontsize=9
                )
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.set_title(
        f"{_count(int(confusion.matrix.sum()), 'test image')}, "
        f"{confusion.accuracy:.2%} classified correctly",
        fontsize=10,
    )
    _save(figure, path)


def _line(axis: Axes, series: Series, label: str, colour: str, factor: float = 1) -> None:
    if not len(series):
        return
    marker = "o" if len(series) <= _MARKED_POINTS else None
    axis.plot(
        series.steps, factor * series.values, color=colour, lw=1.3, marker=marker, ms=3, label=label
    )


def _finish_steps(axis: Axes) -> None:
    axis.set_xlabel("training step")
    axis.set_xlim(0, None)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _finish(axis)


def _finish(axis: Axes) -> None:
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _colours(labels: np.ndarray) -> dict[int, tuple]:
    """A colour for each class that is drawn."""
    if len(labels) <= 10:
        return dict(zip(labels.tolist(), colormaps["tab10"].colors, strict=False))
    hues = colormaps["hsv"](np.linspace(0, 1, len(labels), endpoint=False))
    return dict(zip(labels.tolist(), map(tuple, hues), strict=True))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _save(figure: Figure, path: pathlib.Path) -> None:
    figure.savefig(path, dpi=150)
