# SPDX-License-Identifier: Apache-2.0
"""Puts an exported model under load from many threads, and compares every answer.

    python -m scripts.serve_load [--saved_model DIR] [--predictions 10000] [--threads 8]

First every image of a small pool of random ones is asked about alone, in one thread. Then the
threads ask about images of the pool, one image a call, and each answer is compared with the one
got alone. Prints the figures; ends with status 1 if an answer differs by more than `TOLERANCE` or
fails, and with 2 if there is no model. The memory is the process's own (Linux only).
"""

import argparse
import collections
import itertools
import os
import sys
import threading
import time
from collections.abc import Sequence

# Set before TensorFlow starts: its notices would stand between the figures.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from homoode_tf.serving.predict import ModelError, PredictionError, ServedModel

TOLERANCE = 1e-6
_POOL = 100
_SEED = 0


class Load:
    """Threads that share one model and a count of predictions to make.

    Args:
        model: The model.
        predictions: How many images to ask about, all threads together.
        threads: How many threads.

    Attributes:
        mismatches: Answers further than `TOLERANCE` from those got alone, or failed.
        not_identical: Answers that are not equal to the last bit.
        largest_difference: Of all probabilities.
        errors: Messages of failed predictions, and how often each came.
        memory: MiB at the start, when half of the predictions are made, and at the end.
        seconds: What the threads took.
    """

    def __init__(self, model: ServedModel, predictions: int, threads: int):
        self._model = model
        self._predictions = predictions
        self._threads = threads
        random = np.random.default_rng(_SEED)
        self._pool = random.integers(0, 256, (_POOL, 1, *model.image_shape)).astype(np.uint8)
        self._order = random.integers(0, _POOL, predictions)
        self._lock = threading.Lock()
        # A count that threads can share: taking a number from it is one step.
        self._next = itertools.count()
        self.mismatches = 0
        self.not_identical = 0
        self.largest_difference = 0.0
        self.errors: collections.Counter[str] = collections.Counter()
        self.memory: list[float] = []
        self.seconds = 0.0

    def run(self) -> None:
        """Asks alone, then from all threads."""
        alone = [self._model.predict(image).probabilities for image in self._pool]
        self.memory.append(_memory())
        started = time.perf_counter()
        threads = [
            threading.Thread(target=self._ask, args=(alone,), daemon=True)
            for _ in range(self._threads)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds = time.perf_counter() - started
        self.memory.append(_memory())

    def _ask(self, alone: Sequence[np.ndarray]) -> None:
        while (number := next(self._next)) < self._predictions:
            if number == self._predictions // 2:
                self.memory.append(_memory())
            image = self._order[number]
            try:
                answer = self._model.predict(self._pool[image]).probabilities
            except PredictionError as error:
                with self._lock:
                    self.mismatches += 1
                    self.errors[str(error)] += 1
                continue
            difference = float(np.abs(answer - alone[image]).max())
            with self._lock:
                # Written so that a difference that is not a number counts, too.
                self.mismatches += not difference <= TOLERANCE
                self.not_identical += not np.array_equal(answer, alone[image])
                self.largest_difference = max(self.largest_difference, difference)


def _memory() -> float:
    """MiB of memory that this process occupies."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the load; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.serve_load", description="Puts an exported model under load."
    )
    parser.add_argument(
        "--saved_model", default="runs/digits/saved_model", metavar="DIR", help="(%(default)s)"
    )
    parser.add_argument(
        "--predictions", type=int, default=10_000, metavar="N", help="(%(default)s)"
    )
    parser.add_argument("--threads", type=int, default=8, metavar="N", help="(%(default)s)")
    options = parser.parse_args(arguments)
    for name in ("predictions", "threads"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    try:
        load = Load(ServedModel(options.saved_model), options.predictions, options.threads)
    except ModelError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    load.run()
    start, middle, end = load.memory
    print(f"predictions: {options.predictions} from {options.threads} threads")
    print(f"mismatches: {load.mismatches}; not identical to the last bit: {load.not_identical}")
    print(f"largest difference: {load.largest_difference:.3g}")
    print(f"memory: {start:.1f} MiB at the start, {middle:.1f} half way, {end:.1f} at the end")
    print(f"speed: {options.predictions / load.seconds:.0f} predictions/s")
    for reason, count in load.errors.most_common():
        print(f"{count} times: {reason}", file=sys.stderr)
    return 1 if load.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
