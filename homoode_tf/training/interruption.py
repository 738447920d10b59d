# SPDX-License-Identifier: Apache-2.0
"""Leaving in order on Ctrl-C and SIGTERM."""

import signal
import threading
from collections.abc import Callable


class Interrupted(Exception):  # noqa: N818, it is no error, as KeyboardInterrupt is none
    """A run was asked to stop, and has saved what it had.

    Attributes:
        signal_number: Of the signal that asked.
        signal_name: Its name.
        exit_status: What the process ought to return: 128 + the signal's number.
    """

    def __init__(self, signal_number: int, message: str = ""):
        self.signal_name = signal.Signals(signal_number).name
        super().__init__(message or f"stopped by {self.signal_name}")
        self.signal_number = signal_number
        self.exit_status = 128 + signal_number


class Interruption:
    """Turns SIGINT and SIGTERM into a request that a loop reads when it suits.

    After the first Ctrl-C the next one ends the process at once, as if nobody had listened.
    Repeated SIGTERMs are ignored, because cluster managers send several. Outside of the main
    thread, where Python delivers no signals, it does nothing.

    Args:
        agree: Called at each check with the signal's number, 0 for none; the number that it returns
            counts. Workers that wait for each other must all stop at the same check.

    Example:
        >>> with Interruption() as interruption:
        ...     for step in range(3):
        ...         interruption.check()
    """

    def __init__(self, agree: Callable[[int], int] = lambda number: number):
        self._agree = agree
        self._requested = 0
        self._previous = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def check(self) -> None:
        """Raises `Interrupted` if a stop was requested.

        Raises:
            Interrupted: With the signal's number.
        """
        if number := self._agree(self._requested):
            raise Interrupted(number)

    def _request(self, number, _frame) -> None:
        self._requested = number
        if number == signal.SIGINT:
            # The default action works even while the main thread is inside of TensorFlow.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
