# SPDX-License-Identifier: Apache-2.0
"""What is due after which step of a run."""

from homoode_tf.errors import InvalidValueError
from homoode_tf.training.settings import TrainingSettings

_STEPS_END = 2**31


class Milestones:
    """Says how many steps a run has, and what follows each of them.

    Steps are counted from 1; step 0 is the state before training.

    Args:
        settings: The checked config.
        num_train: Images of the training split.

    Attributes:
        total_steps: Steps of the whole run.
        steps_per_epoch: Full batches of the training split.
        early_steps: How many of the first steps are made by the early solver.

    Raises:
        InvalidValueError: If the split has less than one batch, or the run more steps than can be
            counted.

    Example:
        >>> from homoode_tf.training.settings import TrainingSettings
        >>> settings = TrainingSettings("digits", batch_size=10, epochs=2.5)
        >>> milestones = Milestones(settings, num_train=47)
        >>> [step for step in range(11) if milestones.evaluates(step)]
        [4, 8, 10]
    """

    def __init__(self, settings: TrainingSettings, num_train: int):
        self._settings = settings
        self.steps_per_epoch = num_train // settings.batch_size
        if self.steps_per_epoch == 0:
            raise InvalidValueError(
                f"config.batch_size must be at most {num_train}, the number of training images, "
                f"got {settings.batch_size}."
            )
        num_steps = settings.epochs * self.steps_per_epoch
        if num_steps >= _STEPS_END:
            raise InvalidValueError(
                f"config.epochs must be below {_STEPS_END // self.steps_per_epoch}, so that the "
                f"steps can be counted, got {settings.epochs}."
            )
        self.total_steps = max(1, round(num_steps))
        self.early_steps = round(settings.early_solver.fraction * self.total_steps)

    def epoch(self, step: int) -> int:
        """Returns the epoch, from 1, that `step` belongs to."""
        return max(0, step - 1) // self.steps_per_epoch + 1

    def begins_epoch(self, step: int) -> bool:
        """Returns whether the step after `step` is the first of an epoch."""
        return step % self.steps_per_epoch == 0

    def evaluates(self, step: int) -> bool:
        """Returns whether the model is evaluated on validation after `step`."""
        return self._is_due(step, self._settings.evaluate_every_epochs * self.steps_per_epoch)

    def logs(self, step: int) -> bool:
        """Returns whether a line of metrics is written after `step`."""
        return self.evaluates(step) or self._is_due(step, self._settings.log_every_steps)

    def saves(self, step: int) -> bool:
        """Returns whether a checkpoint is written after `step`."""
        return self.evaluates(step) or self._is_due(step, self._settings.checkpoint_every_steps)

    def any_at(self, step: int) -> bool:
        """Returns whether anything at all is due after `step`."""
        return self.logs(step) or self.saves(step) or self.begins_epoch(step)

    def _is_due(self, step: int, period: int) -> bool:
        return step == self.total_steps or (step > 0 and step % period == 0)
