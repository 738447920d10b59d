# SPDX-License-Identifier: Apache-2.0
"""The style of all figures: colours, sizes, axes, legends, saving. No display is needed."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from homoode_tf.errors import UserError

try:
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "matplotlib":
        raise
    raise UserError(
        "the figures need matplotlib; install it with pip install -e '.[plots]'"
    ) from error

BLUE, RED, GREEN, GREY = "#2a6f97", "#d1495b", "#4c956c", "#8d99a6"
# Points of text in titles, and in legends and beside marks.
TITLE, SMALL = 10, 8


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that makes room for all that is put into it; sizes are in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def colours(number: int) -> list[tuple]:
    """As many colours as things are told apart by them."""
    if number <= 10:
        return list(colormaps["tab10"].colors[:number])
    return list(map(tuple, colormaps["hsv"](np.linspace(0, 1, number, endpoint=False))))


def mean_and_spread(
    axis: Axes, positions: Sequence[float], values: Sequence[Sequence[float]], **line
) -> None:
    """Draws means as a line and their standard deviations as a band around it.

    Args:
        axis: Where to draw.
        positions: Where the values stand.
        values: For each position the values of all runs.
        **line: Colour, style and label of the line.
    """
    mean = np.array([np.mean(some) for some in values])
    spread = np.array([np.std(some) for some in values])
    (drawn,) = axis.plot(positions, mean, **line)
    axis.fill_between(
        positions, mean - spread, mean + spread, color=drawn.get_color(), alpha=0.15, lw=0
    )


def finish(*axes: Axes) -> None:
    """Gives axes a pale grid, and no frame above and on the right."""
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)


def legend_above(axis: Axes) -> None:
    """Puts the legend of an axis above the whole figure."""
    handles = axis.get_legend_handles_labels()
    axis.figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False)


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a figure as PNG, in a folder that is made where it is missing."""
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
