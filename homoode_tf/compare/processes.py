# SPDX-License-Identifier: Apache-2.0
"""One run a process, so that its memory is its own and its crash no one else's."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import ml_collections

from homoode_tf.compare.experiment import Member

_FAILURE = "failure.json"
_LOG = "log.txt"


def train(member: Member, data_dir: str | None) -> dict[str, Any]:
    """Trains a member, or goes on training it, in a process of its own.

    What it prints goes to `log.txt` in its folder. A member that is complete, or has failed
    before, is left as it is: delete `failure.json` to try it again.

    Args:
        member: The run.
        data_dir: Folder of the TFDS data sets, or None for TFDS's own.

    Returns:
        The content of its `result.json`, or {"failure": the last line of its log}.

    Raises:
        KeyboardInterrupt: If the process was interrupted.
    """
    done = read_outcome(member)
    if done is not None:
        return done
    member.workdir.mkdir(parents=True, exist_ok=True)
    task = {
        "config": member.config.to_json(),
        "workdir": str(member.workdir),
        "data_dir": data_dir,
    }
    with (member.workdir / _LOG).open("a") as log:
        process = subprocess.run(
            [sys.executable, "-m", "homoode_tf.compare.processes", json.dumps(task)],
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if process.returncode in (-2, 130):
        raise KeyboardInterrupt
    done = read_outcome(member)
    if done is None:
        done = {"failure": _last_line(member.workdir / _LOG) or f"status {process.returncode}"}
        # Killed from outside it may be resumed; what it ended with itself would come again.
        if process.returncode > 0:
            (member.workdir / _FAILURE).write_text(json.dumps(done))
    return done


def read_outcome(member: Member) -> dict[str, Any] | None:
    """Returns the result or the failure of a member, and None while it has neither."""
    for name in ("result.json", _FAILURE):
        path = member.workdir / name
        if path.exists():
            return json.loads(path.read_text())
    return None


def _last_line(path: pathlib.Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _main(arguments: Sequence[str]) -> None:
    """The child's end."""
    from homoode_tf import training

    task = json.loads(arguments[0])
    config = ml_collections.ConfigDict(json.loads(task["config"]))
    # JSON has no tuples, which a run's folder tells from lists no more than this does.
    config.lock()
    training.train(config, task["workdir"], task["data_dir"], "one_device")


if __name__ == "__main__":
    _main(sys.argv[1:])
