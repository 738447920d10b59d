# SPDX-License-Identifier: Apache-2.0
"""One run a process, so that its memory is its own and its crash no one else's."""

import concurrent.futures
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from homoode_tf.errors import InvalidValueError
from homoode_tf.report.compare.experiment import Member
from homoode_tf.training.interruption import Interrupted

_FAILURE = "failure.json"
# What a child returns that a signal has killed, or stopped in order, and which signal that was.
_INTERRUPTED = {
    status: number
    for number in (signal.SIGINT, signal.SIGTERM)
    for status in (-number, 128 + number)
}
_LOG = "log.txt"


def train(
    members: Sequence[Member], data_dir: str | None, jobs: int = 1
) -> Iterator[tuple[Member, dict[str, Any]]]:
    """Trains members, or goes on training them, each in a process of its own.

    What a process prints goes to `log.txt` in its member's folder. A member that is complete, or
    has failed before, is left as it is: delete `failure.json` to try it again.

    Args:
        members: The runs, begun in this order.
        data_dir: Folder of the TFDS data sets, or None for TFDS's own.
        jobs: Processes at a time, each on its own share of the processor's cores.

    Yields:
        Each member when it ends, with the content of its `result.json` or
        {"failure": the last line of its log}.

    Raises:
        Interrupted: If a child was interrupted. Whatever ends this generator early interrupts
            all children, and each saves where it stands.
        ValueError: If jobs is below one or above the number of cores.
    """
    shares = queue.SimpleQueue()
    for cores in _shares(jobs):
        shares.put(cores)
    children = _Children()

    def one(member: Member) -> dict[str, Any]:
        cores = shares.get()
        try:
            return _train_one(member, data_dir, cores, children)
        finally:
            shares.put(cores)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        runs = {pool.submit(one, member): member for member in members}
        try:
            for run in concurrent.futures.as_completed(runs):
                yield runs[run], run.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            children.interrupt()
            raise


class _Children:
    """The processes that run now, and whether more may start."""

    def __init__(self):
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()
        self._interrupted = False

    def run(self, command: Sequence[str], log: TextIO) -> int:
        """Runs a command to its end; returns its status."""
        with self._lock:
            if self._interrupted:
                raise Interrupted(signal.SIGTERM)
            # A session of its own: one Ctrl-C must not reach it twice, from the terminal and from
            # here, because the second one kills it.
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def interrupt(self) -> None:
        with self._lock:
            self._interrupted = True
            for process in self._running:
                process.send_signal(signal.SIGTERM)


def _train_one(
    member: Member, data_dir: str | None, cores: Sequence[int] | None, children: _Children
) -> dict[str, Any]:
    done = read_outcome(member)
    if done is not None:
        return done
    member.workdir.mkdir(parents=True, exist_ok=True)
    task = {
        "config": member.config.to_json(),
        "workdir": str(member.workdir),
        "data_dir": data_dir,
        "cores": cores,
    }
    command = [sys.executable, "-m", "homoode_tf.report.compare.child", json.dumps(task)]
    with (member.workdir / _LOG).open("a") as log:
        status = children.run(command, log)
    if status in _INTERRUPTED:
        raise Interrupted(_INTERRUPTED[status], f"{member.workdir} was interrupted")
    done = read_outcome(member)
    if done is None:
        done = {"failure": _last_line(member.workdir / _LOG) or f"status {status}"}
        # Killed from outside it may be resumed; what it ended with itself would come again.
        if status > 0:
            (member.workdir / _FAILURE).write_text(json.dumps(done))
    return done


def _shares(jobs: int) -> list[list[int] | None]:
    """The cores of each job; None leaves all of them to the only one."""
    available = hasattr(os, "sched_getaffinity")  # on Linux alone
    cores = sorted(os.sched_getaffinity(0)) if available else list(range(os.cpu_count() or 1))
    if not 1 <= jobs <= len(cores):
        raise InvalidValueError(
            f"jobs must be at least 1 and at most the {len(cores)} cores here, got {jobs}."
        )
    if jobs == 1 or not available:
        return [None] * jobs
    size = len(cores) // jobs
    return [cores[size * number : size * (number + 1)] for number in range(jobs)]


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
