# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's notices about the machine, kept from commands and from those who want none.

`TF_CPP_MIN_LOG_LEVEL=2` asks TensorFlow for errors only. What it says before its log is set up
heeds no setting; therefore the standard error goes through a process that leaves notices out,
from before TensorFlow is imported until it has looked for devices.
"""

import contextlib
import os
import pathlib
import re
import signal
import sys
from collections.abc import Iterator

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# The last one says that there is no driver or no GPU, which is no error of a machine without.
_NOTICE = re.compile(
    rb"I\d{4} |WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions:|E\d{4} .*failed call to cuInit: .*\b(303|NO_DEVICE)\b"
)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Within this context TensorFlow is imported without its notices, where they are not wanted.

    They are not in a command: in `python -m homoode_tf...` and those that setup.cfg names.
    """
    # While Python looks for what `-m` names, and imports its package, this is the program's name.
    program = pathlib.PurePath(sys.argv[0]).name if sys.argv else ""
    if program == "-m" or program.startswith("homoode-"):
        os.environ.setdefault(_LEVEL, "2")
    wanted = os.environ.get(_LEVEL, "0") < "2"
    if wanted or "tensorflow" in sys.modules or not hasattr(os, "fork"):
        yield
        return
    sys.stderr.flush()
    readable, writable = os.pipe()
    # A process and not a thread: what TensorFlow says before it aborts is shown, too.
    child = os.fork()
    if child == 0:
        os.close(writable)
        _filter(readable)
    terminal = os.dup(2)
    os.dup2(writable, 2)
    for descriptor in (readable, writable):
        os.close(descriptor)
    try:
        yield
        import tensorflow as tf

        tf.config.list_physical_devices()
    finally:
        sys.stderr.flush()
        os.dup2(terminal, 2)
        os.close(terminal)
        os.waitpid(child, 0)


def _filter(readable: int) -> None:
    """Hands on to the standard error what is no notice, until the end; does not return."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with open(readable, "rb") as lines:
            for line in lines:
                if not _NOTICE.match(line):
                    os.write(2, line)
    finally:
        os._exit(0)
