# SPDX-License-Identifier: Apache-2.0
"""Starts a program on several processes of this machine that train together.

    python scripts/local_cluster.py -n 2 -- train.py --config=configs/digits.py

For trying and testing what runs on several machines. Each process gets a `TF_CONFIG` with all
workers on the loopback interface; `--strategy=multi_worker` is added where the program is given no
`--strategy`. What a worker prints is shown under its number. When one worker fails, the others are
stopped. Ctrl-C and SIGTERM are handed on; the exit status is that of the first worker that failed.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

# For a worker to save a checkpoint before it is killed.
_GRACE_SECONDS = 60.0
_POLL_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python scripts/local_cluster.py",
        description="Starts a program on several processes of this machine that train together.",
    )
    parser.add_argument("-n", type=int, default=2, metavar="N", help="number of workers (2)")
    parser.add_argument("program", nargs="+", help="a Python script and its arguments, after --")
    options = parser.parse_args(arguments)
    if options.n < 1:
        parser.error(f"-n must be at least 1, got {options.n}")
    program = list(options.program)
    if not any(argument.lstrip("-").startswith("strategy") for argument in program[1:]):
        program.append("--strategy=multi_worker")
    return Cluster(options.n, program).run()


class Cluster:
    """Workers on the loopback interface.

    Args:
        num_workers: Their number.
        program: A Python script and its arguments, the same for all.
    """

    def __init__(self, num_workers: int, program: Sequence[str]):
        workers = [f"127.0.0.1:{port}" for port in free_ports(num_workers)]
        self._processes = [self._start(program, workers, index) for index in range(num_workers)]

    def run(self) -> int:
        """Waits for all workers; returns the exit status of the first that failed, or 0."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hand_on)
        printers = [
            threading.Thread(target=_print_lines, args=(index, process.stdout))
            for index, process in enumerate(self._processes)
        ]
        for printer in printers:
            printer.start()
        status = self._wait()
        for printer in printers:
            printer.join()
        return status

    @staticmethod
    def _start(program, workers, index) -> subprocess.Popen:
        cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        return subprocess.Popen(
            [sys.executable, *program],
            env={**os.environ, "TF_CONFIG": json.dumps(cluster)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def _wait(self) -> int:
        status, deadline = 0, None
        while any(process.poll() is None for process in self._processes):
            time.sleep(_POLL_SECONDS)
            codes = [process.poll() for process in self._processes]
            if deadline is None and any(codes):
                index = next(index for index, code in enumerate(codes) if code)
                status = _exit_status(codes[index])
                _say(f"worker {index} ended with status {status}; stopping the others")
                self._send(signal.SIGTERM)
                deadline = time.monotonic() + _GRACE_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                self._send(signal.SIGKILL)
        if not status:
            status = next((_exit_status(p.returncode) for p in self._processes if p.returncode), 0)
        return status

    def _hand_on(self, number, _frame) -> None:
        self._send(number)

    def _send(self, number: int) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)


def free_ports(number: int) -> list[int]:
    """Returns ports of the loopback interface that nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _exit_status(code: int) -> int:
    """The status as a shell has it, which counts signals from 128."""
    return code if code >= 0 else 128 - code


def _print_lines(index: int, lines) -> None:
    for line in lines:
        print(f"[{index}] {line}", end="", flush=True)


def _say(text: str) -> None:
    print(f"local_cluster: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
