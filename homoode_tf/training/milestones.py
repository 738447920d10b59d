# SPDX-License-Identifier: Apache-2.0
"""What is due at which step of a run."""

import dataclasses

from homoode_tf.training.settings import TrainingSettings

_STEPS_END = 2**31


@dataclasses.dataclass(frozen=True)
class Plan:
    """Says how many steps a run has and what follows each of them.

    Steps are counted from 1; step 0 is the state before training.

    Args:
        total_steps: Steps of the whole run.
        steps_per_epoch: Full batches of the training split.
        log_every_steps: Steps between two lines of metrics.
        checkpoint_every_steps: Steps between two checkpoints.
        evaluate_every_epochs: Epochs between two evaluations.

    Example:
        >>> plan = Plan(10, 4, log_every_steps=3, checkpoint_every_steps=5, evaluate_every_epochs=1)
        >>> [step for step in range(1, 11) if plan.evaluates(step)]
        [4, 8, 10]
    """

    total_steps: int
    steps_per_epoch: int
    log_every_steps: int
    checkpoint_every_steps: int
    evaluate_every_epochs: int

    @classmethod
    def make(cls, settings: TrainingSettings, num_train: int) -> "Plan":
        """Returns the plan for a training split of `num_train` images.

        Raises:
            ValueError: If the split has less than one batch, or the run more steps than can be
                counted.
        """
        steps_per_epoch = num_train // settings.batch_size
        if steps_per_epoch == 0:
            raise ValueError(
                f"config.batch_size must be at most {num_train}, the number of training images, "
                f"got {settings.batch_size}."
            )
        num_steps = settings.epochs * steps_per_epoch
        if num_steps >= _STEPS_END:
            raise ValueError(
                f"config.epochs must be below {_STEPS_END // steps_per_epoch}, so that the steps "
                f"can be counted, got {settings.epochs}."
            )
        return cls(
            total_steps=max(1, round(num_steps)),
            steps_per_epoch=steps_per_epoch,
            log_every_steps=settings.log_every_steps,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            evaluate_every_epochs=settings.evaluate_every_epochs,
        )

    def epoch(self, step: int) -> int:
        """Returns the epoch, from 1, that `step` belongs to."""
        return max(0, step - 1) // self.steps_per_epoch + 1

    def begins_epoch(self, step: int) -> bool:
        """Returns whether the step after `step` is the first of an epoch."""
        return step % self.steps_per_epoch == 0

    def evaluates(self, step: int) -> bool:
        """Returns whether the model is evaluated on validation after `step`."""
        return step == self.total_steps or (
            step > 0 and step % (self.evaluate_every_epochs * self.steps_per_epoch) == 0
        )

    def logs(self, step: int) -> bool:
        """Returns whether a line of metrics is written after `step`."""
        return self.evaluates(step) or (step > 0 and step % self.log_every_steps == 0)

    def saves(self, step: int) -> bool:
        """Returns whether a checkpoint is written after `step`."""
        return self.evaluates(step) or (step > 0 and step % self.checkpoint_every_steps == 0)

    def pauses(self, step: int) -> bool:
        """Returns whether anything at all is due after `step`."""
        return self.logs(step) or self.saves(step) or self.begins_epoch(step)
