# SPDX-License-Identifier: Apache-2.0
"""One run a process, so that its memory is its own and its crash no one else's.

Not a pool of joblib (loky) or of `concurrent.futures`, which were tried. There one worker that is
killed, as the kernel does when memory runs out, ends all others, begun or not; under loky so does
`sys.exit` in one. loky's workers serve several runs, so that the peak memory of one is that of the
next, too. After a SIGTERM loky kills its workers before they can save, and `concurrent.futures`
lets them train on to the end. And what a library prints while it is imported goes to the terminal
instead of the run's log.
"""

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from homoode_tf.disk import write_atomically
from homoode_tf.errors import InvalidValueError
from homoode_tf.report.compare.experiment import Member
from homoode_tf.training.files.workdir import plain
from homoode_tf.training.interruption import Interrupted, Interruption

# What a process returns that a signal has killed, or stopped in order, and which signal that was.
_INTERRUPTED = {
    status: number
    for number in (signal.SIGINT, signal.SIGTERM)
    for status in (-number, 128 + number)
}
_PROGRAM = ("-m", "homoode_tf.report.compare.train_member")
_POLL_SECONDS = 0.1


def train(
    members: Sequence[Member],
    data_dir: str | None,
    jobs: int = 1,
    recipe: str | None = None,
    watch: Callable[[Sequence[Member]], None] = lambda _: None,
) -> Iterator[tuple[Member, dict[str, Any]]]:
    """Trains members, or goes on training them, each in a process of its own.

    What a process prints goes to `log.txt` in its member's folder; `log.previous.txt` is that of
    the attempt before. A member that is complete is left as it is; one that has failed is tried
    again. `jobs` processes run at a time, each on its own share of the processor's cores, and each
    reads the config file `recipe`, which may register parts of the user's own. Several times a
    second `watch` is called with those that run.

    Yields:
        Each member when it ends, with its outcome.

    Raises:
        Interrupted: If this process or one of its own was interrupted. Whatever ends this generator
            early interrupts all its processes, and each saves where it stands. So they do where
            this process is killed.
        InvalidValueError: If jobs is below one or above the number of cores.
        WorkdirError: If the folder of any member was made by another config; nothing has run then.
    """
    shares = _shares(jobs)
    for member in members:
        member.outcome()
    waiting, running = collections.deque(members), {}
    with Interruption() as interruption, _pipe() as alive:
        try:
            while waiting or running:
                interruption.check()
                while waiting and shares:
                    member = waiting.popleft()
                    if member.is_complete:
                        member.failure.unlink(missing_ok=True)  # of an attempt before
                        yield member, member.outcome()
                        continue
                    cores = shares.pop(0)
                    process = _start(member, data_dir, cores, recipe, alive)
                    running[process] = member, cores
                ended = [(p, *running.pop(p)) for p in list(running) if p.poll() is not None]
                watch([member for member, _ in running.values()])
                for process, member, cores in ended:
                    shares.append(cores)
                    yield member, _outcome(member, process.returncode)
                time.sleep(_POLL_SECONDS)
        except BaseException:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
            raise
        finally:
            watch([])


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


@contextlib.contextmanager
def _pipe() -> Iterator[int]:
    """The end to read of a pipe that is open for writing as long as this process lives."""
    read, write = os.pipe()
    try:
        yield read
    finally:
        os.close(read)
        os.close(write)


def _start(
    member: Member,
    data_dir: str | None,
    cores: Sequence[int] | None,
    recipe: str | None,
    alive: int,
) -> subprocess.Popen:
    member.workdir.mkdir(parents=True, exist_ok=True)
    member.failure.unlink(missing_ok=True)
    task = {
        "config": plain(member.config),
        "workdir": str(member.workdir),
        "data_dir": data_dir,
        "cores": cores,
        "recipe": recipe,
    }
    command = [sys.executable, *_PROGRAM, json.dumps(task)]
    if member.log.exists():
        member.log.replace(member.log.with_name("log.previous.txt"))
    with member.log.open("w") as log:
        # A session of its own: one Ctrl-C must not reach it twice, from the terminal and from here,
        # because the second one kills it.
        return subprocess.Popen(
            command, stdin=alive, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def _outcome(member: Member, status: int) -> dict[str, Any]:
    if status in _INTERRUPTED:
        raise Interrupted(_INTERRUPTED[status], f"{member.workdir} was interrupted")
    if (outcome := member.outcome()) is not None:
        return outcome
    lines = [line.strip() for line in member.log.read_text(errors="replace").splitlines()]
    last_line = next((line for line in reversed(lines) if line), f"status {status}")
    outcome = {"failure": last_line}
    write_atomically(member.failure, json.dumps(outcome))
    return outcome
