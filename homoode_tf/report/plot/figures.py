# SPDX-License-Identifier: Apache-2.0
"""The figures of a run. Each function takes the file to write and the numbers to draw."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from homoode_tf.report import style
from homoode_tf.report.plot.figure_data import Confusion, Projection, SolveSummary
from homoode_tf.report.plot.metrics_history import Series

_MAIN, _SECOND = style.BLUE, style.RED
# Beyond so many classes, numbers and names in the cells of a confusion matrix are not legible.
_LEGIBLE_CLASSES = 20
# Beyond so many points, markers hide the line.
_MARKED_POINTS = 40
_WIDE_RANGE = 30
_STEPS = {"xlabel": "training step", "xlim": (0, None)}


def learning_curves(path: pathlib.Path, curves: Mapping[str, Series]) -> None:
    """Draws loss and accuracy, of training and validation, against the step.

    `curves` has the series by their names in `metrics.jsonl`; those of length 0 are not drawn.
    """
    with style.figure(path, 9, 3.8) as figure:
        loss, accuracy = figure.subplots(1, 2)
        for axis, name, factor in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
            _line(axis, curves[name], "training (mean since the last point)", _MAIN, factor)
            _line(axis, curves[f"validation_{name}"], "validation", _SECOND, factor)
        if all((curves[name].values > 0).all() for name in ("loss", "validation_loss")):
            style.logarithmic(loss)
        loss.set(**_STEPS, ylabel="loss: mean cross-entropy (nats per image)")
        accuracy.set(**_STEPS, ylabel="accuracy (% of the images)")
        style.legend_above(loss)


def evaluations(path: pathlib.Path, curves: Mapping[str, Series]) -> None:
    """Draws the evaluations of F of a training step, `nfe_forward` and `nfe_backward`."""
    with style.figure(path, 6, 3.8) as figure:
        axis = figure.subplots()
        _line(axis, curves["nfe_forward"], "forward pass", _MAIN)
        _line(axis, curves["nfe_backward"], "backward pass", _SECOND)
        largest = max(series.values.max() for series in curves.values() if len(series))
        axis.set(**_STEPS, ylabel="evaluations of F per training step", ylim=(0, 1.15 * largest))
        style.legend_above(axis)


def solve(path: pathlib.Path, summary: SolveSummary) -> None:
    """Draws the residual along t over the steps that the solver takes."""
    with style.figure(path, 6.5, 5.6) as figure:
        residual, size = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        times, quantiles = summary.times, summary.residuals
        for low, high, alpha, label in (
            ("0", "100", 0.15, "all images"),
            ("25", "75", 0.35, "middle half of the images"),
        ):
            band = {"color": _MAIN, "alpha": alpha, "lw": 0, "label": label}
            residual.fill_between(times, quantiles[low], quantiles[high], **band)
        residual.plot(times, quantiles["50"], color=_MAIN, label="median")
        at_steps = summary.step_times, summary.step_residuals
        residual.plot(*at_steps, "o", color=_MAIN, label="median at the steps")
        residual.set_ylabel("residual |z'(t)| (root mean square,\nunits of z per unit of t)")
        if 0 < quantiles["0"].min() * _WIDE_RANGE < quantiles["100"].max():
            residual.set_yscale("log")
        else:
            residual.ticklabel_format(axis="y", useOffset=False)
        size.stairs(summary.step_sizes, summary.step_times, fill=True, color=_MAIN, alpha=0.35)
        size.stairs(summary.step_sizes, summary.step_times, color=_MAIN)
        size.plot(summary.step_times[1:], summary.step_sizes, "o", color=_MAIN)
        rejected = summary.rejected_steps
        counts = [
            f"{summary.images} test images",
            _count(len(summary.step_sizes), "step"),
            *([] if rejected is None else [f"{rejected} rejected"]),
            _count(summary.evaluations, "evaluation") + " of F",
        ]
        size.set(
            xlabel="time t of the solve (dimensionless)",
            ylabel="step size of the solver\n(units of t)",
            ylim=(0, 1.2 * summary.step_sizes.max()),
            title=", ".join(counts),
        )
        style.legend_above(residual)


def trajectories(path: pathlib.Path, projection: Projection, class_names: Sequence[str]) -> None:
    """Draws z(t) of some images in the plane of two principal axes, coloured by class."""
    with style.figure(path, 7.5, 5.4) as figure:
        axis = figure.subplots()
        classes = np.unique(projection.labels).tolist()
        colours = dict(zip(classes, style.colours(len(classes)), strict=True))
        for label, curve, steps in zip(
            projection.labels.tolist(), projection.curves, projection.steps, strict=True
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
        for label, colour in colours.items():
            axis.plot([], [], color=colour, lw=2, label=class_names[label])
        for marker, size, text in (("s", 7, start), (".", 7, "end of a step"), ("*", 11, "z(T)")):
            axis.plot([], [], marker, color="black", ms=size, label=text)
        figure.legend(loc="outside right upper", frameon=False, title="class")
        first, second = (f"{share:.1%} of the variance" for share in projection.explained_variance)
        images = _count(len(projection.labels), "test image")
        axis.set(
            title=f"States z(t) of {images}, averaged over positions",
            xlabel=f"first principal axis (units of z; {first})",
            ylabel=f"second principal axis (units of z; {second})",
        )
        axis.set_aspect("equal", adjustable="datalim")


def confusion_matrix(path: pathlib.Path, confusion: Confusion) -> None:
    """Draws shares of each true class as colours, numbers of images as text."""
    classes = len(confusion.class_names)
    size = min(4.5 + 0.25 * classes, 10)
    with style.figure(path, size + 0.8, size) as figure:
        axis = figure.subplots()
        totals = confusion.matrix.sum(axis=1, keepdims=True)
        shares = 100 * confusion.matrix / np.maximum(totals, 1)
        axis.grid(False)
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        figure.colorbar(image, ax=axis, shrink=0.8, label="share of the true class (%)")
        if classes <= _LEGIBLE_CLASSES:
            slanted = max(map(len, confusion.class_names)) > 3
            turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
            axis.set_xticks(range(classes), confusion.class_names, **turned)
            axis.set_yticks(range(classes), confusion.class_names)
            for (row, column), number in np.ndenumerate(confusion.matrix):
                if number:
                    colour = "white" if shares[row, column] > 50 else "black"
                    place = {"ha": "center", "va": "center", "fontsize": 9}
                    axis.text(column, row, str(number), color=colour, **place)
        images = _count(int(confusion.matrix.sum()), "test image")
        title = f"{images}, {confusion.accuracy:.2%} classified correctly"
        axis.set(title=title, xlabel="predicted class", ylabel="true class")


def _line(axis, series, label, colour, factor=1) -> None:
    marker = "o" if len(series) <= _MARKED_POINTS else None
    if len(series):
        values = factor * series.values
        axis.plot(series.steps, values, color=colour, lw=1.3, marker=marker, ms=3, label=label)
    axis.locator_params(axis="x", nbins=6, integer=True)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
