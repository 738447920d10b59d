# SPDX-License-Identifier: Apache-2.0
"""The loop over the steps along a path, and the control of their lengths."""

import dataclasses
import math

import numpy as np

from homoode_tf.errors import InvalidValueError
from homoode_tf.homotopy.corrector import Linearization, System
from homoode_tf.homotopy.path import PathStatus
from homoode_tf.homotopy.predictor import Predictor, angle, arc_length

# A step is rejected if it needs more corrections, turns further or is corrected by a larger part
# of its length: it may have jumped to another path.
_MAX_CORRECTIONS = 6
_MAX_ANGLE = 0.6
_MAX_CORRECTED_PART = 0.5
# The length of the next step aims at these.
_TARGET_CORRECTIONS = 3
_TARGET_ANGLE = 0.3
_SHRINK, _GROW = 0.5, 2.0
# Where the Jacobian is singular at the solution, Newton's method gains only a factor of about four
# in the residual each time.
_MAX_FINAL_CORRECTIONS = 50
# A path has closed where it comes back to its start but for this part of a step.
_CLOSED_PART = 1e-3


@dataclasses.dataclass(frozen=True)
class StepLengths:
    """Length of the first step, and the bounds of all (the last may be shorter)."""

    initial: float
    shortest: float
    longest: float

    def __post_init__(self):
        if not self.shortest <= self.initial <= self.longest:
            raise InvalidValueError(
                "initial_step_length must lie between min_step_length and max_step_length, got "
                f"{self.initial} with {self.shortest} and {self.longest}."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class _Step:
    """A step that succeeded; without a predictor for the next it was the last."""

    end: Linearization
    length: float
    predictor: Predictor | None = None
    growth: float = 1.0


@dataclasses.dataclass(eq=False)
class Tracer:
    """Follows the path of a system from its start.

    Attributes:
      system: The equation.
      lengths: Step lengths.
      tolerance: Largest root mean square of r at the end.
      path_tolerance: Largest root mean square of H on the way.
      max_distance: Distance from the start at which the path is given up.
      points: Points u = (z, lambda) of the path, each (n + 1,).
      arc_lengths: Length of the path up to each point.
      last: The equation at the last point.
      num_steps: Steps tried.
    """

    system: System
    lengths: StepLengths
    tolerance: float
    path_tolerance: float
    max_distance: float

    def __post_init__(self):
        self.last = self.system.start
        self.points = [self.last.point]
        self.arc_lengths = [0.0]
        self.num_steps = 0
        self._lambda_axis = np.zeros_like(self.last.point)
        self._lambda_axis[-1] = 1.0

    def run(self, max_num_steps: int) -> PathStatus:
        """Takes steps until lambda = 1, or until it fails."""
        if not math.isfinite(self.last.residual_norm):
            return PathStatus.NON_FINITE
        if self.last.residual_norm <= self.tolerance:
            # With r(z0) = 0 the path of either homotopy is z = z0.
            end = self.system.moved(self.last.point, self._lambda_axis)
            self._record(_Step(dataclasses.replace(self.last, point=end), 1.0))
            return PathStatus.SUCCESS
        try:
            predictor = Predictor.euler(self.system.tangent(self.last, self._lambda_axis))
        except np.linalg.LinAlgError:
            return PathStatus.SINGULAR_START
        length, rejected = self.lengths.initial, False
        while self.num_steps < max_num_steps:
            self.num_steps += 1
            try:
                step = self._advance(predictor, length)
            except np.linalg.LinAlgError:
                length, rejected = _SHRINK * length, True
                if length < self.lengths.shortest:
                    return PathStatus.STEP_UNDERFLOW
                continue
            self._record(step)
            if step.predictor is None:
                return PathStatus.SUCCESS
            if self._has_closed(step):
                return PathStatus.CLOSED
            if self.system.distance(self.points[0], self.points[-1]) > self.max_distance:
                return PathStatus.DIVERGED
            predictor = step.predictor
            length *= min(step.growth, 1.0) if rejected else step.growth
            length = min(max(length, self.lengths.shortest), self.lengths.longest)
            rejected = False
        return PathStatus.MAX_NUM_STEPS

    def _record(self, step):
        self.last = step.end
        self.points.append(step.end.point)
        self.arc_lengths.append(self.arc_lengths[-1] + step.length)

    def _advance(self, predictor, length):
        """One step of at most this length; raises `LinAlgError` if it fails."""
        start = self.last.point
        to_end = predictor.distance_to_rise(1.0 - self.last.parameter, length)
        if to_end is not None:
            return self._land(start, predictor.change(to_end), to_end)
        predicted = self.system.moved(start, predictor.change(length))
        end, num_corrections = self._correct(
            predicted, predictor.tangent, self.path_tolerance, _MAX_CORRECTIONS, length
        )
        change = self.system.change(start, end.point)
        if end.parameter >= 1.0:
            part = (1.0 - self.last.parameter) / (end.parameter - self.last.parameter)
            return self._land(start, part * change, length)
        tangent = self.system.tangent(end, predictor.tangent)
        turn = angle(tangent, predictor.tangent)
        if turn > _MAX_ANGLE:
            raise np.linalg.LinAlgError("the path turns too far")
        arc = arc_length(float(np.linalg.norm(change)), tangent, predictor.tangent)
        if arc == 0.0:
            raise np.linalg.LinAlgError("the step is lost in rounding")
        following = Predictor.hermite(tangent, predictor.tangent, change, arc)
        to_fold = following.distance_to_fold()
        if to_fold is not None and end.parameter + following.largest_rise_back() >= 1.0:
            # The path may touch lambda = 1 there, or cross it twice. Where the landing fails, a
            # shorter step tells which: the bound falls below 1, or lambda = 1 is between its ends.
            return self._land(end.point, following.change(to_fold), arc)
        return _Step(end, arc, following, _growth(num_corrections, turn))

    def _has_closed(self, step):
        """Whether a step came back to the start, where lambda rises through 0.

        A path is a line or a circle, and a circle comes back to its start first. For z0 is a
        regular point, and no other part of the path leads there.
        """
        start, end = self.points[-2:]
        if not start[-1] < 0.0 <= end[-1]:
            return False
        predicted = start + start[-1] / (start[-1] - end[-1]) * (end - start)
        predicted[-1] = 0.0
        try:
            found, _ = self._correct(
                predicted, self._lambda_axis, self.path_tolerance, _MAX_CORRECTIONS, step.length
            )
        except np.linalg.LinAlgError:
            return False
        return self.system.distance(found.point, self.points[0]) <= _CLOSED_PART * step.length

    def _land(self, start, change, length):
        """The end of the path at lambda = 1, near the point after a change."""
        predicted = self.system.moved(start, change)
        predicted[-1] = 1.0
        end, _ = self._correct(
            predicted, self._lambda_axis, self.tolerance, _MAX_FINAL_CORRECTIONS, length
        )
        return _Step(end, self.system.distance(self.last.point, end.point))

    def _correct(self, predicted, row, tolerance, max_corrections, length):
        """A correction that stays within a part of the step."""
        end, num_corrections = self.system.correct(predicted, row, tolerance, max_corrections)
        if not self.system.distance(predicted, end.point) <= _MAX_CORRECTED_PART * length:
            raise np.linalg.LinAlgError("the correction leads too far")
        return end, num_corrections


def _growth(num_corrections, turn):
    """Factor of the next step's length: few corrections and small turns make steps longer."""
    by_corrections = _GROW ** (0.5 * (_TARGET_CORRECTIONS - num_corrections))
    by_turn = _GROW if turn == 0.0 else _TARGET_ANGLE / turn
    return min(max(min(by_corrections, by_turn), _SHRINK), _GROW)
