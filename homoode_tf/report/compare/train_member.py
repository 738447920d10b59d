# SPDX-License-Identifier: Apache-2.0
"""The program of one member's process: trains what its argument describes."""

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence

import ml_collections

from homoode_tf import command_line, training
from homoode_tf.training.interruption import Interrupted


def main(arguments: Sequence[str]) -> None:
    """Trains; `arguments` is a JSON object with config, workdir, data_dir, cores and recipe."""
    task = json.loads(arguments[0])
    if task["cores"]:
        # Before TensorFlow makes its threads, one for each core it may use.
        os.sched_setaffinity(0, task["cores"])
    if task["recipe"]:
        command_line.read_config(task["recipe"])
    # JSON has no tuples, which a run's folder tells from lists no more than this does.
    config = ml_collections.ConfigDict(task["config"]).lock()
    try:
        training.train(config, task["workdir"], task["data_dir"], "one_device")
    except Interrupted as error:
        print(error, flush=True)
        sys.exit(error.exit_status)


def end_with_parent() -> None:
    """Lets this process be stopped in order when the one that began it has ended, however it has.

    That one holds the other end of the pipe that is the standard input, and writes nothing.
    """

    def watch() -> None:
        if not os.read(0, 1):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    end_with_parent()
    main(sys.argv[1:])
