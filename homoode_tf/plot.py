# SPDX-License-Identifier: Apache-2.0
"""How a run learnt and how its solver goes: numbers, and figures of them.

`python -m homoode_tf.plot --workdir DIR` draws everything;
`homoode_tf.report.plot.run_report.draw` is the same as a function, and needs matplotlib.
What is public here does not.
"""

if __name__ == "__main__":
    from homoode_tf import commands

    commands.plot()

from homoode_tf.report.plot.figure_data import Confusion, Projection, SolveSummary
from homoode_tf.report.plot.metrics_history import History, HistoryError, Series
from homoode_tf.report.plot.trajectories import Solve, Trajectory, follow

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
