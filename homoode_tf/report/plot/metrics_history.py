# SPDX-License-Identifier: Apache-2.0
"""The history of a run: what `metrics.jsonl` says of each logged step."""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from homoode_tf.errors import UserError
from homoode_tf.training.watch.metrics import read_metrics

# No run has as many: what says so was not written by one.
_STEPS_END = 2**31


class HistoryError(UserError, ValueError):
    """There is no history to read."""


@dataclasses.dataclass(frozen=True)
class Series:
    """One metric over training.

    Attributes:
        steps: int64 array of shape (n,), the training steps that it was logged at.
        values: float64 array of shape (n,), finite.
    """

    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)


class History:
    """The metrics of a run, by name.

    Args:
        lines: One mapping a logged step, with its `step` and the metrics of that step.

    Example:
        >>> History([{"step": 10, "loss": 2.0}, {"step": 20, "loss": 1.0}]).series("loss").values
        array([2., 1.])
    """

    def __init__(self, lines: Sequence[dict[str, Any]]):
        self._lines = list(lines)

    @classmethod
    def read(cls, path: str | os.PathLike) -> "History":
        """Reads a run's `metrics.jsonl`, of at least one step.

        Raises:
            HistoryError: If there is no such file, or no line in it.
        """
        path = pathlib.Path(path)
        lines = read_metrics(path) if path.exists() else []
        lines = [line for line in lines if 0 <= line["step"] < _STEPS_END]
        if not lines:
            what = "empty" if path.exists() else "missing"
            raise HistoryError(f"{path} is {what}: no step was logged yet")
        return cls(lines)

    @property
    def last_step(self) -> int:
        """The last logged step."""
        return max(line["step"] for line in self._lines)

    def series(self, name: str) -> Series:
        """Returns the metric `name`; of length 0 where it was never logged as a finite number."""
        lines = [
            line
            for line in self._lines
            if type(line.get(name)) in (int, float) and abs(line[name]) <= sys.float_info.max
        ]
        steps = np.array([line["step"] for line in lines], np.int64)
        return Series(steps, np.array([line[name] for line in lines], np.float64))
