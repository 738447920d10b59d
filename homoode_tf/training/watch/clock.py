# SPDX-License-Identifier: Apache-2.0
"""Time and memory that a run has used, over all the processes that it took."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator, Mapping

import tensorflow as tf


class Clock:
    """Counts the seconds of a run, and of its training steps alone.

    A checkpoint keeps what `read` returns, so that a resumed run goes on counting. Work that a
    killed process did after its last checkpoint is made again, and not counted twice.

    Steps that are compiled, the first of each process, are left out of the training seconds.

    Args:
        batch_size: Images of one step.
    """

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._seconds = 0.0
        self._training_seconds = 0.0
        self._examples = 0
        self._peak_memory_mb = 0.0
        self._started = time.monotonic()
        # Step and moment since which training is timed.
        self._training_since: tuple[int, float] | None = None

    def continue_from(self, record: Mapping[str, float]) -> None:
        """Adds what earlier processes of this run counted: what `read` returned, or nothing."""
        self._seconds += record.get("seconds", 0.0)
        self._training_seconds += record.get("training_seconds", 0.0)
        self._examples += int(record.get("training_examples", 0))
        self._peak_memory_mb = max(self._peak_memory_mb, record.get("peak_memory_mb", 0.0))

    def start_training(self, step: int) -> None:
        """Starts timing the training, after `step` steps."""
        self._training_since = step, time.monotonic()

    def stop_training(self, step: int) -> None:
        """Stops timing the training, after `step` steps."""
        since, self._training_since = self._training_since, None
        if since is not None:
            self._examples += (step - since[0]) * self._batch_size
            self._training_seconds += time.monotonic() - since[1]

    @contextlib.contextmanager
    def paused(self, step: int) -> Iterator[None]:
        """Within this context, which begins after `step` steps, training is not timed."""
        is_timed = self._training_since is not None
        self.stop_training(step)
        yield
        if is_timed:
            self.start_training(step)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the run so far: training, evaluation, building and saving."""
        return self._seconds + time.monotonic() - self._started

    @property
    def examples_per_second(self) -> float:
        """Images per second of training; 0 before any was counted."""
        return self._examples / self._training_seconds if self._training_seconds else 0.0

    @property
    def peak_memory_mb(self) -> float:
        """Largest memory of any process of the run, in MiB; of the GPUs where there are any."""
        return max(self._peak_memory_mb, _peak_memory_mb())

    def read(self) -> dict[str, float]:
        """Returns what a checkpoint keeps."""
        return {
            "seconds": self.seconds,
            "training_seconds": self._training_seconds,
            "training_examples": self._examples,
            "peak_memory_mb": self.peak_memory_mb,
        }


def _peak_memory_mb() -> float:
    if gpus := tf.config.list_logical_devices("GPU"):
        names = [gpu.name.removeprefix("/device:") for gpu in gpus]
        return sum(tf.config.experimental.get_memory_info(name)["peak"] for name in names) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
