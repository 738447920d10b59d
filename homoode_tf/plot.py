# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of a run: the short name of `homoode_tf.report.plot`."""

import sys

from homoode_tf.report.plot import (
    Confusion,
    History,
    HistoryError,
    Projection,
    Series,
    Solve,
    SolveSummary,
    Trajectory,
    follow,
)

__all__ = [
    "Confusion",
    "History",
    "HistoryError",
    "Projection",
    "Series",
    "Solve",
    "SolveSummary",
    "Trajectory",
    "follow",
]

if __name__ == "__main__":
    from homoode_tf.report.plot.command import main

    sys.exit(main())
