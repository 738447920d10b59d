# SPDX-License-Identifier: Apache-2.0
"""The page's pictures, drawn without a display."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from homoode_tf.plot import Trajectory
from homoode_tf.report import style
from scripts.two_sides.ways import Way

_BLUE, _RED, _GREEN, _GREY = style.BLUE, style.RED, style.GREEN, style.GREY
_COLOURS = {
    "fixed-point homotopy": _BLUE,
    "Newton homotopy": _GREEN,
    "flow z' = g - z": _RED,
    "Picard": _GREY,
    "Anderson": "#b5179e",
    "Broyden": "#f4a261",
    "Newton–Krylov": "#6d597a",  # noqa: RUF001
    "HomoODE": "black",
}


def ways(
    path: pathlib.Path,
    found: Mapping[str, Way],
    learned: Trajectory,
    steps: Trajectory,
    equilibrium: np.ndarray,
) -> None:
    """Draws how each way goes in the plane, in four panels.

    Args:
        path: The file to write.
        found: The ways by name.
        learned: HomoODE's solution for one condition.
        steps: The ends of its steps.
        equilibrium: z*, of shape (2,).
    """
    with style.figure(path, 6.9, 8.2) as figure:
        first = figure.add_subplot(2, 2, 1)
        panels = [first, *(figure.add_subplot(2, 2, k, sharex=first, sharey=first) for k in (2, 3))]
        groups = {
            "Homotopy paths": ("fixed-point homotopy", "Newton homotopy"),
            "The flow, and Picard, its Euler steps": ("flow z' = g - z", "Picard"),
            "Iterations that learn from their steps": ("Anderson", "Broyden"),
        }
        for axis, (title, names) in zip(panels, groups.items(), strict=True):
            axis.set_title(title)
            for name in names:
                _draw_way(axis, found[name], name)
            axis.plot(*found[names[0]].curve[0], "s", color="black", ms=6, label="start", zorder=4)
        # On a scale of its own: its way is short.
        axis = figure.add_subplot(2, 2, 4)
        axis.set_title("HomoODE, from its own z0 (enlarged)")
        axis.margins(0.3)
        axis.plot(*learned.states[:, 0].T, color=_COLOURS["HomoODE"], lw=1.5)
        axis.plot(
            *steps.states[:, 0].T, "o", color=_COLOURS["HomoODE"], ms=4, label="solver's steps"
        )
        axis.plot(*steps.states[0, 0], "s", color="black", ms=6, label="learned z0", zorder=4)
        for axis in figure.axes:
            axis.plot(*equilibrium, "*", color="gold", mec="black", ms=13, label="z*", zorder=5)
            axis.legend(loc="lower left")
            _plane(axis)


def _draw_way(axis, way: Way, name: str) -> None:
    colour = _COLOURS[name]
    iterates = way.curve is way.points
    axis.plot(*way.curve.T, color=colour, lw=0.8 if iterates else 1.6, alpha=0.8)
    axis.plot(*way.points.T, "o", color=colour, ms=3.5, label=name)


def work(
    path: pathlib.Path,
    curves: Mapping[str, Sequence[tuple[int, float]]],
    tolerances: Sequence[float],
) -> None:
    """Draws the distance of the end from z* against the work, one line a way.

    Args:
        path: The file to write.
        curves: For each name pairs of work and distance, one a tolerance.
        tolerances: The tolerances, for the title.
    """
    with style.figure(path, 7.2, 4.4) as figure:
        axis = figure.subplots()
        for name, points in curves.items():
            line = {"ls": "--", "lw": 2.0} if name == "HomoODE" else {"ls": "-", "lw": 1.2}
            axis.loglog(*zip(*points, strict=True), marker="o", ms=4, color=_COLOURS[name], **line)
            axis.lines[-1].set_label(name)
        axis.set_xlabel("evaluations of g (of F for HomoODE) and products with the Jacobian")
        axis.set_ylabel("distance of the end from z*")
        axis.set_title("Tolerances " + ", ".join(f"{t:.0e}" for t in tolerances))
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def conditions(path: pathlib.Path, solved: Trajectory, equilibria: np.ndarray) -> None:
    """Draws HomoODE's trajectories for several conditions, and how near to z* they are.

    Args:
        path: The file to write.
        solved: The solutions, to a time beyond 1.
        equilibria: z* of each condition, of shape (batch, 2).
    """
    with style.figure(path, 9.6, 4.6) as figure:
        plane, distance = figure.subplots(1, 2)
        within = solved.times <= 1.0 + 1e-9
        distances = np.linalg.norm(solved.states - equilibria, axis=2)
        for sample, colour in enumerate(style.colours(len(equilibria))):
            equilibrium = equilibria[sample]
            plane.plot(*solved.states[within, sample].T, color=colour, lw=1.6)
            plane.plot(*solved.states[~within, sample].T, ":", color=colour, lw=1.2)
            plane.plot(*equilibrium, "*", color=colour, mec="black", ms=11, zorder=5)
            distance.semilogy(solved.times, distances[:, sample], color=colour, lw=1.3)
        plane.plot(*solved.states[0, 0], "s", color="black", ms=7, zorder=6)
        for marker, label in (("s", "learned z0"), ("*", "z*(x)")):
            plane.plot([], [], marker, color="black", label=label)
        plane.plot([], [], "-", color="black", label="0 ≤ t ≤ 1")
        plane.plot([], [], ":", color="black", label="1 < t ≤ 2")
        plane.legend(loc="lower left")
        plane.set_title("One initial point, many conditions")
        _plane(plane)
        distance.axvline(1.0, color=_GREY, ls="--", lw=1.0)
        distance.set_title("The end is at t = 1; z* is passed, not kept")
        distance.set_xlabel("time t")
        distance.set_ylabel("distance of z(t) from z*(x)")


def turning(
    path: pathlib.Path, found: Mapping[str, Way], turns: np.ndarray, equilibrium: np.ndarray
) -> None:
    """Draws the ways of the sharp map, and lambda along the homotopy path.

    Args:
        path: The file to write.
        found: The ways by name.
        turns: Indices of the turning points on the fixed-point homotopy's curve.
        equilibrium: z*, of shape (2,).
    """
    with style.figure(path, 9.6, 4.6) as figure:
        plane, parameter = figure.subplots(1, 2)
        homotopy, flow = found["fixed-point homotopy"], found["flow z' = g - z"]
        plane.plot(*found["Picard"].points.T, "X", color=_GREY, ms=6, label="Picard")
        plane.plot(*flow.curve.T, color=_RED, lw=1.0, label="flow z' = g - z")
        plane.plot(*homotopy.curve.T, color=_BLUE, lw=2.0, label="fixed-point homotopy")
        plane.plot(
            *homotopy.curve[turns].T, "o", color=_BLUE, mfc="white", ms=7, label="turning point"
        )
        plane.plot(*homotopy.curve[0], "s", color="black", ms=6, label="start")
        plane.plot(*equilibrium, "*", color="gold", mec="black", ms=13, label="z*", zorder=5)
        plane.legend(loc="upper right")
        plane.set_title("An equilibrium that repels")
        plane.set_ylim(-1.15, 1.95)
        _plane(plane)
        parameter.plot(homotopy.arc_lengths, homotopy.parameters, color=_BLUE, lw=1.8)
        parameter.plot(
            homotopy.arc_lengths[turns],
            homotopy.parameters[turns],
            "o",
            color=_BLUE,
            mfc="white",
            ms=7,
        )
        parameter.axhline(1.0, color=_GREY, ls="--", lw=1.0)
        parameter.set_title("λ turns twice on the way")
        parameter.set_xlabel("arc length in (z, λ)")
        parameter.set_ylabel("λ")


def _plane(axis) -> None:
    axis.set_aspect("equal", adjustable="box")
    axis.set_xlabel("$z_1$")
    axis.set_ylabel("$z_2$")
