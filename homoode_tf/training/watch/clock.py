# SPDX-License-Identifier: Apache-2.0
"""Time and memory that a run has used, over all the processes that it took."""

import resource
import sys
import time
from collections.abc import Mapping

import tensorflow as tf


class Clock:
    """Counts the seconds of a run, and of its training steps alone.

    A checkpoint keeps what `read` returns, so that a resumed run goes on counting. Work that a
    killed process did after its last checkpoint is made again, and not counted twice.

    The first step of each process is left out of the training seconds: it is compiled then.
    """

    def __init__(self):
        self._seconds = 0.0
        self._training_seconds = 0.0
        self._examples = 0
        self._peak_memory_mb = 0.0
        self._started = time.monotonic()
        self._training_since: float | None = None

    def continue_from(self, record: Mapping[str, float]) -> None:
        """Adds what earlier processes of this run counted."""
        self._seconds += record["seconds"]
        self._training_seconds += record["training_seconds"]
        self._examples += int(record["training_examples"])
        self._peak_memory_mb = max(self._peak_memory_mb, record["peak_memory_mb"])

    def start_training(self) -> None:
        """Starts counting training seconds."""
        self._training_since = time.monotonic()

    def stop_training(self, examples: int) -> None:
        """Ends what `start_training` began; `examples` images were trained on meanwhile."""
        if self._training_since is not None:
            self._training_seconds += time.monotonic() - self._training_since
            self._examples += examples
            self._training_since = None

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
        """Largest memory of any process of the run, in MiB: `peak_memory_mb`."""
        return max(self._peak_memory_mb, peak_memory_mb())

    def read(self) -> dict[str, float]:
        """Returns what a checkpoint keeps."""
        return {
            "seconds": self.seconds,
            "training_seconds": self._training_seconds,
            "training_examples": self._examples,
            "peak_memory_mb": self.peak_memory_mb,
        }


def peak_memory_mb() -> float:
    """Returns the GPUs' peak memory summed, or the resident memory's peak without any, in MiB."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        names = [gpu.name.removeprefix("/device:") for gpu in gpus]
        return sum(tf.config.experimental.get_memory_info(name)["peak"] for name in names) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts KiB, macOS bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
