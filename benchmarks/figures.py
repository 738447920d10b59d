# SPDX-License-Identifier: Apache-2.0
"""The figures of the benchmarks."""

import pathlib
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

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
    path: pathlib.Path, num_steps: Sequence[int], peaks: Mapping[str, Sequence[float]]
) -> None:
    """Draws peak memory in MiB against the number of steps, one line a peer."""
    figure, axis = pyplot.subplots(figsize=(5, 3.5))
    for name, values in peaks.items():
        axis.plot(
            num_steps, values, "-" if name.startswith("ours") else "--", marker="o", label=name
        )
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks(num_steps, [str(n) for n in num_steps])
    axis.set_xlabel("steps")
    axis.set_ylabel("peak memory above the idle process (MiB)")
    axis.legend(fontsize=8)
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


def _save(figure, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
