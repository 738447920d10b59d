# SPDX-License-Identifier: Apache-2.0
"""Runs cases, each in a process of its own, a few at a time, none longer than a limit.

Starting Python with TensorFlow takes several seconds, so most cases run in a fork of this process,
which has imported everything. That works as long as no TensorFlow operation has run here. A few
are started as a user starts them, to show that the fork makes no difference.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence

from scripts.malformed_inputs.case import Case, Outcome

ROOT = pathlib.Path(__file__).resolve().parents[2]
_POLL = 0.02  # seconds


def run(
    cases: Iterable[tuple[Case, bool]], jobs: int, limit: float
) -> Iterator[tuple[Case, Outcome]]:
    """Yields how each case ended, in the order of their ends.

    Args:
        cases: Each with whether it is to be started as a user starts it.
        jobs: How many run at a time.
        limit: Seconds after which a case is killed.
    """
    waiting = iter(cases)
    running: list[_Running] = []
    more = True
    while running or more:
        while more and len(running) < jobs:
            case, as_user = next(waiting, (None, False))
            if case is None:
                more = False
            else:
                running.append((_Started if as_user else _Forked)(case, limit))
        time.sleep(_POLL)
        for process in list(running):
            if (outcome := process.poll()) is not None:
                running.remove(process)
                yield process.case, outcome


class _Running:
    """A case that runs; a subclass says how it is started, asked and killed."""

    def __init__(self, case: Case, limit: float):
        self.case = case
        # Closed when the case has ended.
        self._output, self._errors = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115
        self._begin = time.monotonic()
        self._end = self._begin + limit
        self._start(case.command)

    def poll(self) -> Outcome | None:
        """Returns how it ended; kills what has run too long."""
        status = self._status()
        if status is None:
            if time.monotonic() < self._end:
                return None
            self._kill()
        seconds = time.monotonic() - self._begin
        with self._output, self._errors:
            return Outcome(status, _content(self._output), _content(self._errors), seconds)

    def _start(self, command: Sequence[str]) -> None:
        raise NotImplementedError

    def _status(self) -> int | None:
        raise NotImplementedError

    def _kill(self) -> None:
        raise NotImplementedError


class _Started(_Running):
    """As a user starts it."""

    def _start(self, command):
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            cwd=ROOT,
        )

    def _status(self):
        return self._process.poll()

    def _kill(self):
        self._process.kill()
        self._process.wait()


class _Forked(_Running):
    """In a fork of this process."""

    def _start(self, command):
        self._process = multiprocessing.get_context("fork").Process(
            target=_become, args=(command, self._output.fileno(), self._errors.fileno())
        )
        self._process.start()

    def _status(self):
        return self._process.exitcode

    def _kill(self):
        self._process.kill()
        self._process.join()


def _become(command: Sequence[str], output: int, errors: int) -> None:
    """Does in this process what `python COMMAND` does in a new one."""
    os.dup2(output, 1)
    os.dup2(errors, 2)
    # Not this process's own, which a test may have replaced.
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(ROOT)
    if command[0] == "-m":
        sys.argv = list(command[1:])
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(command)
        runpy.run_path(str(ROOT / command[0]), run_name="__main__")


def _content(file) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
