# SPDX-License-Identifier: Apache-2.0
"""The style of all figures: colours, sizes, axes, legends, saving. No display is needed.

What draws imports matplotlib from nowhere else, so that where it is missing this module says so.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from homoode_tf import disk, extras

with extras.explaining():
    from matplotlib import colormaps, rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

BLUE, RED, GREEN, GREY = "#2a6f97", "#d1495b", "#4c956c", "#8d99a6"
_STYLE = {
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "savefig.dpi": 150,
}


@contextlib.contextmanager
def figure(path: str | os.PathLike, width: float, height: float) -> Iterator[Figure]:
    """A figure of this size in inches to draw in, written as PNG when the context ends."""
    with rc_context(_STYLE):
        empty = Figure(figsize=(width, height), layout="constrained")
        yield empty
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk.replacing(path) as new:
            empty.savefig(new, format="png")


def colours(number: int) -> list[tuple]:
    """As many colours as things are told apart by them."""
    if number <= 10:
        return list(colormaps["tab10"].colors[:number])
    return list(map(tuple, colormaps["hsv"](np.linspace(0, 1, number, endpoint=False))))


def mean_and_spread(
    axis: Axes, positions: Sequence[float], values: Sequence[Sequence[float]], **line
) -> None:
    """Draws, of the values at each position, the mean as a line and the deviation as a band."""
    mean = np.array([np.mean(some) for some in values])
    spread = np.array([np.std(some) for some in values])
    (drawn,) = axis.plot(positions, mean, **line)
    band = {"color": drawn.get_color(), "alpha": 0.15, "lw": 0}
    axis.fill_between(positions, mean - spread, mean + spread, **band)


def logarithmic(axis: Axes) -> None:
    """Makes the vertical axis logarithmic, with plain numbers at 1, 2 and 5 times 10^k."""
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.yaxis.set_minor_locator(NullLocator())


def legend_above(axis: Axes) -> None:
    """Puts the legend of an axis above the whole figure."""
    place = {"loc": "outside upper center", "ncols": 2, "frameon": False, "fontsize": 10}
    axis.figure.legend(*axis.get_legend_handles_labels(), **place)
