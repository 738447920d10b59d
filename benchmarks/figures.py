# SPDX-License-Identifier: Apache-2.0
"""The figures of the benchmarks."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from homoode_tf.report import style

_OURS, _PEERS = style.BLUE, "#b0b7bf"


def step_bars(path: pathlib.Path, panels: Mapping[str, Mapping[str, float]]) -> None:
    """Draws one panel of horizontal bars for each quantity, ours in colour.

    Args:
        path: The file to write.
        panels: For each title (with the unit) the values by peer.
    """
    height = 0.6 + 0.3 * max(len(values) for values in panels.values())
    with style.figure(path, 3.4 * len(panels), height + 0.5) as figure:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)
        for axis, (title, values) in zip(axes[0], panels.items(), strict=True):
            names = list(values)
            colours = [_OURS if name.startswith("ours") else _PEERS for name in names]
            bars = axis.barh(names, list(values.values()), color=colours)
            labels = [f"{v:,.0f}" if v >= 100 else f"{v:.3g}" for v in values.values()]
            axis.bar_label(bars, labels, padding=2, fontsize=8)
            axis.set_title(title, fontsize=9)
            axis.margins(x=0.18)
            axis.grid(False)
            axis.tick_params(labelsize=8)
        axes[0][0].invert_yaxis()


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
    with style.figure(path, 7, 3.8) as figure:
        axis = figure.subplots()
        for name, values in peaks.items():
            axis.plot(
                numbers, values, "-" if name.startswith(solid) else "--", marker="o", label=name
            )
        axis.set_xscale("log", base=2)
        style.logarithmic(axis)
        axis.set_xticks(numbers, [str(n) for n in numbers])
        axis.set(xlabel=x_label, ylabel="peak memory above idle (MiB)")
        # Beside the lines, which leave it no room where many run close together.
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def work_precision(path: pathlib.Path, curves: Mapping[str, Mapping[str, Sequence[dict]]]) -> None:
    """Draws error against evaluations (above) and against time (below), one column a problem.

    Args:
        path: The file to write.
        curves: For each problem and solver its points, with "error", "evaluations", "seconds".
    """
    with style.figure(path, 4 * len(curves), 7) as figure:
        axes = figure.subplots(2, len(curves), sharey=True, squeeze=False)
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
            axes[0][column].set_title(problem)
        for row in axes:
            row[0].set_ylabel("relative error at the end")
        axes[0][0].legend(fontsize=7)


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
    with style.figure(path, 9, 6.5) as figure:
        (nfe, accuracy), (nfe_of, accuracy_of) = figure.subplots(2, 2)
        colours = dict(zip(points, style.colours(len(points)), strict=True))
        for label, runs in histories.items():
            for axis, name, factor in (
                (nfe, "nfe_forward", 1.0),
                (accuracy, "validation_accuracy", 100.0),
            ):
                steps = runs[0][name]["steps"]
                values = [factor * np.array(run[name]["values"]) for run in runs]
                line = {"color": colours[label], "label": label}
                style.mean_and_spread(axis, steps, np.transpose(values), **line)
        for label, runs in points.items():
            line = {"color": colours[label], "label": label}
            line["ls"] = "-" if label in histories else "--"
            for axis, name, factor in (
                (nfe_of, "evaluations", 1.0),
                (accuracy_of, "accuracy", 100.0),
            ):
                values = [factor * np.array(run[name]) for run in runs]
                style.mean_and_spread(axis, tolerances, np.transpose(values), **line)
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
        nfe_of.legend(fontsize=7)
