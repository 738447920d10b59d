# SPDX-License-Identifier: Apache-2.0
"""Where the time of some training steps goes, for TensorBoard's profile plugin."""

import contextlib
import pathlib
from collections.abc import Iterator

import tensorflow as tf
from absl import logging

from homoode_tf.checks import check_integer

# The first step of a process is traced and compiled, the next ones fill queues and caches.
_STEPS_BEFORE = 3


class Profiler:
    """Traces some steps of this process, from its fourth one on, into a run's events.

    It changes nothing that a run computes. As a context manager it writes at the end what was
    traced until then, however the training has ended.

    Args:
        events: Folder of the run's events; the trace is in `plugins/profile/` there.
        num_steps: How many steps; 0 for none at all.

    Raises:
        InvalidTypeError: If `num_steps` is no integer.
        InvalidValueError: If it is negative.

    Example:
        >>> with Profiler(pathlib.Path("events"), num_steps=2) as profiler:
        ...     for number in range(1, 8):
        ...         with profiler.step(number):
        ...             _ = tf.add(number, 1)  # in place of the training step
        ...         if profiler.is_done:
        ...             print(profiler.write())
        Profiled steps 4 to 5: tensorboard --logdir events
    """

    def __init__(self, events: pathlib.Path, num_steps: int):
        check_integer("profile_steps", num_steps, at_least=0)
        self._events = events
        self._num_steps = num_steps
        self._made = 0
        self._traced: list[int] = []
        self._running = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, _, error: BaseException | None, __) -> None:
        if self._running:
            self.write()
        elif self._num_steps and not self._traced and error is None:
            logging.warning(
                "No step was profiled: this process made %d, and the first %d are left out.",
                self._made,
                _STEPS_BEFORE,
            )

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Within this context training step `number` is made, and traced if it is to be."""
        if self._num_steps and self._made == _STEPS_BEFORE:
            tf.profiler.experimental.start(str(self._events))
            self._running = True
        self._made += 1
        if not self._running:
            yield
            return
        self._traced.append(number)
        # `_r=1` makes it a step in the eyes of the plugin.
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            yield

    @property
    def is_done(self) -> bool:
        """Whether all steps were traced and are yet to be written."""
        return self._running and len(self._traced) == self._num_steps

    def write(self) -> str:
        """Writes what was traced; the devices must have done the steps.

        Returns:
            What was written and how to look at it, in words.
        """
        self._running = False
        steps = f"steps {self._traced[0]} to {self._traced[-1]}"
        try:
            tf.profiler.experimental.stop()
        except tf.errors.OpError as error:
            # The run itself is whole.
            logging.warning("The profile of %s cannot be written: %s", steps, error.message)
            return f"The profile of {steps} is lost."
        return f"Profiled {steps}: tensorboard --logdir {self._events}"
