# SPDX-License-Identifier: Apache-2.0
"""The figure of the study: nine questions, a line a member."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from homoode_tf.report import style
from homoode_tf.report.compare.curves import readable
from scripts.stability.corruptions import SEVERITIES
from scripts.stability.jacobians import SHARES_OF_TIME
from scripts.stability.measure import EPSILONS, SIGMAS
from scripts.stability.solver_dependence import TIMES, TOLERANCES

Line = tuple[Sequence[float], Sequence[Sequence[float]]]


def draw(path: pathlib.Path, results: Mapping[str, Any]) -> None:
    """Draws means over seeds and their deviations, of what `stability.json` holds, to a file."""
    runs = results["members"]
    colours = dict(zip(runs, style.colours(max(10, len(runs))), strict=False))
    with style.figure(path, 12.6, 11.4) as figure:
        axes = figure.subplots(3, 3).flat
        for axis, (title, horizontal, vertical, scale, lines) in zip(axes, _PANELS, strict=True):
            axis.set(title=title, xlabel=horizontal, ylabel=vertical)
            for name in runs:
                for positions, values in lines(name, results):
                    line = {"color": colours[name], "label": readable(name), "marker": "o", "ms": 3}
                    style.mean_and_spread(axis, positions, values, **line)
            scale(axis)
        style.legend_above(figure.axes[0])


def _rates(name: str, results: Mapping[str, Any]) -> list[Line]:
    found: dict[float, list[float]] = {}
    for run in results["training"]:
        if run["name"] == name:
            # A run without a result answers nothing right.
            found.setdefault(run["rate"], []).append(100.0 * (run["accuracy"] or 0.0))
    return [(sorted(found), [found[rate] for rate in sorted(found)])]


def _series(steps: str, values: str) -> Callable[[str, Mapping[str, Any]], list[Line]]:
    def lines(name, results):
        grown = [run["growth"] for run in results["members"][name]]
        shared = sorted(set.intersection(*(set(one[steps]) for one in grown)))
        at = [dict(zip(one[steps], one[values], strict=True)) for one in grown]
        return [(shared, [[one[step] for one in at] for step in shared])] if shared else []

    return lines


def _measured(
    positions: Sequence[float], read: Callable[[Mapping[str, Any]], Sequence[float] | None]
) -> Callable[[str, Mapping[str, Any]], list[Line]]:
    def lines(name, results):
        values = [read(run["measured"]) for run in results["members"][name]]
        values = [some for some in values if some is not None]
        if not values:
            return []
        # Of a deq there is one point, at its end.
        return [(positions[-len(values[0]) :], list(zip(*values, strict=True)))]

    return lines


def _percent(values: Sequence[float]) -> list[float]:
    return [100.0 * value for value in values]


def _of(part: str, field: str) -> Callable[[Mapping[str, Any]], list[float] | None]:
    return lambda m: m[part] and m[part][field]


def _plain(axis: Axes) -> None:
    axis.set_ylim(bottom=0.0)


def _log_x(axis: Axes) -> None:
    axis.set_xscale("log")


def _times(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.set_xticks(TIMES, [f"{time:g}" for time in TIMES])
    axis.xaxis.set_minor_locator(style.NullLocator())


def _log_y(axis: Axes) -> None:
    if axis.lines:
        axis.set_yscale("log")


def _log_both(axis: Axes) -> None:
    _log_x(axis)
    _log_y(axis)


_ACCURACY = "test accuracy (%)"
_PANELS = (
    ("Learning rate", "learning rate", _ACCURACY, _log_x, _rates),
    (
        "Evaluations in training",
        "step",
        "forward, a solve",
        _plain,
        _series("steps", "evaluations"),
    ),
    (
        "Residual at the end, in training",
        "step",
        "rms F(z(T)); deq: rms(g - z)",
        _log_y,
        _series("residual_steps", "residuals"),
    ),
    (
        "Gaussian noise",
        "deviation, share of 255",
        _ACCURACY,
        _plain,
        _measured((0.0, *SIGMAS), lambda m: _percent([m["clean"], *m["gaussian"].values()])),
    ),
    (
        "15 corruptions, mean",
        "severity",
        _ACCURACY,
        _plain,
        _measured(
            (0, *SEVERITIES),
            lambda m: _percent([m["clean"], *np.mean(list(m["corruptions"].values()), axis=0)]),
        ),
    ),
    (
        "PGD",
        "epsilon, of 255",
        _ACCURACY,
        _plain,
        _measured((0, *EPSILONS), lambda m: _percent([m["clean"], *m["pgd"].values()])),
    ),
    (
        "Distance of the answer from that at 1e-6",
        "rtol = atol",
        "|z - z'| / |z'|",
        _log_both,
        _measured(TOLERANCES, _of("tolerance", "distance")),
    ),
    (
        "Time beyond training",
        "time, in T",
        _ACCURACY,
        _times,
        _measured(TIMES, lambda m: m["time"] and _percent(m["time"]["accuracy"])),
    ),
    (
        "Largest singular value of dF/dz",
        "time, in T",
        "median over images",
        _plain,
        _measured(SHARES_OF_TIME, _of("jacobian", "norm")),
    ),
)
