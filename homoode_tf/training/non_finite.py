# SPDX-License-Identifier: Apache-2.0
"""Steps whose loss or gradient is infinite or NaN."""

import tensorflow as tf

from homoode_tf.errors import UserError

POLICIES = ("stop", "skip")
# A run that makes no step any more is over.
_MOST_SKIPPED_IN_A_ROW = 50
_HELP = "A smaller config.optimizer.learning_rate, a warm-up or config.optimizer.clip_norm may help"


class NonFiniteError(UserError, RuntimeError):
    """The loss or its gradient became infinite or NaN."""


class NonFiniteSteps:
    """Counts the non-finite steps of a run, and says when it must stop.

    Args:
        policy: "stop" at the first one, or "skip" it; 50 skipped in a row stop the run.

    Attributes:
        first_bad_step: int64 scalar variable, the first step with a non-finite loss or gradient
            that the policy does not let pass, or 0.
        skipped: int64 variable of shape (3,): steps skipped, of these in a row until now, and the
            last of them (0 for none).
    """

    def __init__(self, policy: str):
        self._skips = policy == "skip"
        self.first_bad_step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.skipped = tf.Variable([0, 0, 0], dtype=tf.int64, trainable=False)

    @property
    def num_skipped(self) -> int:
        """Number of steps skipped."""
        return int(self.skipped.numpy()[0])

    def count(self, step: tf.Tensor, finite: tf.Tensor, harmless: tf.Tensor) -> None:
        """Takes note of a step.

        Args:
            step: int64 scalar, its number.
            finite: Boolean scalar, whether its loss and gradient were finite.
            harmless: Boolean scalar, whether it was finite or may be skipped whatever the policy.
        """
        total, in_a_row, last = tf.unstack(self.skipped)
        in_a_row = tf.where(finite, tf.zeros_like(in_a_row), in_a_row + 1)
        last = tf.where(finite, last, step)
        self.skipped.assign(tf.stack([total + tf.cast(~finite, tf.int64), in_a_row, last]))
        bad = in_a_row >= _MOST_SKIPPED_IN_A_ROW if self._skips else ~harmless
        is_first = bad & (self.first_bad_step == 0)
        self.first_bad_step.assign(tf.where(is_first, step, self.first_bad_step))

    def check_some_made(self, num_steps: int) -> None:
        """Raises `NonFiniteError` if all of the run's steps were skipped: nothing is trained."""
        if self.num_skipped >= num_steps:
            raise NonFiniteError(
                f"the loss or its gradient was non-finite in all {num_steps} steps of the run, so "
                f"that nothing was trained. {_HELP}."
            )

    def check(self) -> None:
        """Raises `NonFiniteError` if the run must stop."""
        bad = int(self.first_bad_step.numpy())
        if not bad:
            return
        what = f"the loss or its gradient became non-finite at step {bad}"
        hint = "; config.non_finite=skip leaves such steps out."
        if self._skips:
            what = (
                f"the loss or its gradient was non-finite in all of the {_MOST_SKIPPED_IN_A_ROW} "
                f"steps until step {bad}, or their solves failed"
            )
            hint = "."
        raise NonFiniteError(f"{what}; the checkpoints before it are kept. {_HELP}{hint}")
