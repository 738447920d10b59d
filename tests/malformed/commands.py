# SPDX-License-Identifier: Apache-2.0
"""Runs `train.py`, none longer than a limit, and judges how a command ended; or starts a program.

Starting Python with TensorFlow takes several seconds. So most runs are forks of one process that
has imported everything and has run no TensorFlow operation, each with flags, status and output of
its own; a few are started as a user starts them, to show that it makes no difference.
"""

import concurrent.futures
import multiprocessing
import os
import pathlib
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

LIMIT = 120.0  # seconds
ROOT = pathlib.Path(__file__).resolve().parents[2]
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["homoode_tf.command_line", "homoode_tf.training"])
# TensorFlow's own lines, which no setting silences.
_NOTICE = re.compile(r"[IWE]\d{4} |WARNING: All log messages before absl::InitializeLog")
# A message that is longer is an outburst, not a line that a person reads.
_LONGEST_LINE = 2000


class Outcome(NamedTuple):
    """How a command ended: its status, None where it was killed, and what it printed."""

    status: int | None
    output: str
    errors: str


def run(
    command: Sequence[str], as_user: bool = False, limit: float = LIMIT, root: pathlib.Path = ROOT
) -> Outcome:
    """Does what `python COMMAND` does in `root`: in a fork, or in a new process of its own."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        status = (_start if as_user else _fork)(list(command), root, limit, output, errors)
        output.seek(0)
        errors.seek(0)
        return Outcome(status, *(file.read().decode(errors="replace") for file in (output, errors)))


class Started:
    """A fork that goes on by itself, used as a `subprocess.Popen` with pipes and text is.

    Args:
        command: What `python COMMAND` would be given: a file, or `-m` and a module, and arguments.
        environment: Variables that it has beside those of this process.
    """

    def __init__(
        self, command: Sequence[object], environment: Mapping[str, str] | None = None
    ) -> None:
        (output, its_output), (errors, its_errors) = os.pipe(), os.pipe()
        streams = [multiprocessing.reduction.DupFd(end) for end in (its_output, its_errors)]
        arguments = ([*map(str, command)], ROOT, *streams, {**os.environ, **(environment or {})})
        self._process = _FORKS.Process(target=_become, args=arguments)
        self._process.start()
        for end in (its_output, its_errors):
            os.close(end)
        self.stdout, self.stderr = (os.fdopen(end, errors="replace") for end in (output, errors))

    @property
    def returncode(self) -> int | None:
        """The status at its end; less than zero where a signal ended it; until then None."""
        return self._process.exitcode

    poll = returncode.fget

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def communicate(self, timeout: float = LIMIT) -> tuple[str, str]:
        """Waits for its end; returns the rest of what it has printed, and of its errors."""
        with concurrent.futures.ThreadPoolExecutor(2) as readers:
            texts = [readers.submit(stream.read) for stream in (self.stdout, self.stderr)]
            self._process.join(timeout)
            if self.returncode is None:
                self.kill()
                raise TimeoutError(f"still running after {timeout} s")
            return tuple(text.result() for text in texts)


def fault(
    outcome: Outcome,
    names: Sequence[str],
    statuses: Sequence[int] = (1,),
    begins: str = "train.py: ",
) -> str | None:
    """Returns what is wrong with how a command ended, or None.

    The status must be one of `statuses`. The last line must begin as `begins` says, the program's
    name, and hold one of `names`; with status 0 it is enough that some line holds one.
    """
    lines = [line for line in outcome.errors.splitlines() if line and not _NOTICE.match(line)]
    last = lines[-1] if lines else ""
    told = outcome.errors if outcome.status == 0 else last
    if outcome.status is None:
        return "did not end"
    if "Traceback (most recent call last)" in outcome.errors + outcome.output:
        return f"a traceback: {last}"
    if outcome.status not in statuses:
        return f"status {outcome.status}: {last}"
    if not any(name.lower() in told.lower() for name in names):
        return f"the message names none of {', '.join(names)}: {last}"
    if outcome.status and not last.startswith(begins):
        return f"the last line is not ours: {last}"
    return f"a message of {len(last)} letters" if len(last) > _LONGEST_LINE else None


def contents(folder: pathlib.Path) -> Mapping[pathlib.Path, bytes]:
    """Returns the content of every file in a folder, but for a run's lock."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if not path.name.startswith(".lock")}


def _start(command, root, limit, output, errors) -> int | None:
    command = [sys.executable, *command]
    streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": errors}
    try:
        return subprocess.run(command, cwd=root, timeout=limit, **streams).returncode
    except subprocess.TimeoutExpired:
        return None


def _fork(command, root, limit, *streams) -> int | None:
    streams = [multiprocessing.reduction.DupFd(file.fileno()) for file in streams]
    process = _FORKS.Process(target=_become, args=(command, root, *streams, {}))
    process.start()
    process.join(limit)
    status = process.exitcode
    if status is None:
        process.kill()
        process.join()
    return status


def _become(command, root, output, errors, environment) -> None:
    os.environ.update(environment)
    os.dup2(output.detach(), 1)
    os.dup2(errors.detach(), 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(root)
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(str(root / command[0]), run_name="__main__")
