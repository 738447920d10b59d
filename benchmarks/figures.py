# SPDX-License-Identifier: Apache-2.0
"""The figures of the benchmarks."""

import pathlib
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot, ticker

_OURS, _PEERS = "#2a6f97", "#b0b7bf"


def step_bars(path: pathlib.Path, panels: Mapping[str, Mapping[str, float]]) -> None:
    """Draws one panel of horizontal bars for each quantity, ours in colour.

    Args:
        path: The file to write.
        panels: For each title (with the unit) the values by peer.
    """
    height = 0.6 + 0.3 * max(len(values) for values in panels.values())
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(3.4 * len(panels), height + 0.5), sharey=True, squeeze=False
    )
    for axis, (title, values) in zip(axes[0], panels.items(), strict=True):
        names = list(values)
        colours = [_OURS if name.startswith("ours") else _PEERS for name in names]
        bars = axis.barh(names, list(values.values()), color=colours)
        labels = [f"{v:,.0f}" if v >= 100 else f"{v:.3g}" for v in values.values()]
        axis.bar_label(bars, labels, padding=2, fontsize=8)
        axis.set_title(title, fontsize=9)
        axis.margins(x=0.18)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    axes[0][0].invert_yaxis()
    _save(figure, path)


def memory_lines(
    path: pathlib.Path,
    numbers: Sequence[int],
    peaks: Mapping[str, Sequence[float]],
    x_label: str = "steps",
    solid: str = "ours",
) -> None:
    """Draws peak memory in MiB against the number of steps or evaluations, one line a name.

    Args:
        path: The file to write.
        numbers: Of steps or evaluations.
        peaks: For each name the memory for each number.
        x_label: What the numbers are.
        solid: Start of the names whose lines are solid; the others are dashed.
    """
    figure, axis = pyplot.subplots(figsize=(7, 3.8))
    for name, values in peaks.items():
        axis.plot(numbers, values, "-" if name.startswith(solid) else "--", marker="o", label=name)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    axis.yaxis.set_minor_formatter(ticker.NullFormatter())
    axis.set_xticks(numbers, [str(n) for n in numbers])
    axis.set_xlabel(x_label)
    axis.set_ylabel("peak memory above idle (MiB)")
    # Beside the lines, which leave it no room where many run close together.
    axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    axis.grid(alpha=0.3)
    _save(figure, path)


def work_precision(path: pathlib.Path, curves: Mapping[str, Mapping[str, Sequence[dict]]]) -> None:
    """Draws error against evaluations (above) and against time (below), one column a problem.

    Args:
        path: The file to write.
        curves: For each problem and solver its points, with "error", "evaluations", "seconds".
    """
    figure, axes = pyplot.subplots(
        2, len(curves), figsize=(4 * len(curves), 7), sharey=True, squeeze=False
    )
    for column, (problem, solvers) in enumerate(curves.items()):
        for row, quantity in enumerate(("evaluations", "seconds")):
            axis = axes[row][column]
            for name, points in solvers.items():
                axis.loglog(
                    [point[quantity] for point in points],
                    [point["error"] for point in points],
                    "--" if name.startswith("SciPy") else "-",
                    marker=".",
                    label=name,
                )
            axis.set_xlabel("evaluations of F" if row == 0 else "seconds")
            axis.grid(alpha=0.3)
        axes[0][column].set_title(problem)
    for row in axes:
        row[0].set_ylabel("relative error at the end")
    axes[0][0].legend(fontsize=7)
    _save(figure, path)


def initial_points(
    path: pathlib.Path,
    tolerances: Sequence[float],
    points: Mapping[str, Sequence[Mapping[str, Sequence[float]]]],
    histories: Mapping[str, Sequence[Mapping[str, Mapping[str, Sequence[float]]]]],
) -> None:
    """Draws what the initial point changes: in training on the left, in evaluation on the right.

    Args:
        path: The file to write.
        tolerances: Of the evaluation.
        points: For each initial point and run "evaluations" and "accuracy" at these tolerances.
        histories: For some of them and each run "nfe_forward" and "validation_accuracy", with
            "steps" and "values".
    """
    figure, ((nfe, accuracy), (nfe_of, accuracy_of)) = pyplot.subplots(2, 2, figsize=(9, 6.5))
    colours = dict(zip(points, pyplot.colormaps["tab10"].colors, strict=False))
    for label, runs in histories.items():
        for axis, name, factor in (
            (nfe, "nfe_forward", 1.0),
            (accuracy, "validation_accuracy", 100.0),
        ):
            steps = runs[0][name]["steps"]
            values = [factor * np.array(run[name]["values"]) for run in runs]
            _mean_and_spread(axis, steps, values, colours[label], label, "-")
    for label, runs in points.items():
        style = "-" if label in histories else "--"
        for axis, name, factor in ((nfe_of, "evaluations", 1.0), (accuracy_of, "accuracy", 100.0)):
            values = [factor * np.array(run[name]) for run in runs]
            _mean_and_spread(axis, tolerances, values, colours[label], label, style)
    for axis in (nfe, accuracy):
        axis.set_xlabel("training step")
    for axis in (nfe_of, accuracy_of):
        axis.set_xscale("log")
        axis.invert_xaxis()
        axis.set_xlabel("tolerance of the solver (rtol = atol)")
    nfe.set_ylabel("evaluations of F, forward")
    nfe_of.set_ylabel("evaluations of F, test images")
    accuracy.set_ylabel("validation accuracy (%)")
    accuracy_of.set_ylabel("test accuracy (%)")
    for axis in figure.axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    nfe_of.legend(fontsize=7)
    _save(figure, path)


def _mean_and_spread(axis, positions, values, colour, label, style):
    mean, spread = np.mean(values, axis=0), np.std(values, axis=0)
    axis.plot(positions, mean, style, color=colour, label=label)
    axis.fill_between(positions, mean - spread, mean + spread, color=colour, alpha=0.12, lw=0)


def _save(figure, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
