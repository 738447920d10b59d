# SPDX-License-Identifier: Apache-2.0
"""How a command of this floor begins, speaks and ends."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable

import absl.logging

from homoode_tf import disk, graph_errors, program
from homoode_tf.errors import UserError

# As a shell says it of a program that the signal has ended.
_INTERRUPTED, _BROKEN_PIPE = 128 + 2, 128 + 13


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """Returns a parser that knows the flags of every command here, which say the model."""
    made = argparse.ArgumentParser(prog=program.name(module), description=description)
    model = made.add_mutually_exclusive_group(required=True)
    model.add_argument("--saved_model", metavar="DIR", help="the exported model's folder")
    meaning = "instead of it, weights that ship with the package; homoode-weights lists them"
    model.add_argument("--pretrained", metavar="NAME", help=meaning)
    return made


def run(module: str, command: Callable[[], int]) -> int:
    """Calls a command; what a user can put right ends as one line on the standard error.

    Args:
        module: What `python -m` takes; that line begins with the command's name.
        command: It returns the exit status.

    Returns:
        The exit status: the command's own; that of a `UserError`, which is 2 if the error has no
        `exit_status`; 1 if the output, or a model on its way, cannot be written; 130 after
        Ctrl-C and 141 where who reads the output has enough. Any other error is a mistake of ours,
        and goes on.
    """
    # Notices about the machine, about how a model was saved and about each pass of a converter;
    # what matters is an error here.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    absl.logging.set_verbosity("error")
    for name, level in (("tensorflow", "ERROR"), ("tf2onnx", "CRITICAL")):
        logging.getLogger(name).setLevel(level)
    try:
        return command()
    except UserError as error:
        reason, status = str(error), getattr(error, "exit_status", 2)
    except KeyboardInterrupt:
        reason, status = "stopped by SIGINT", _INTERRUPTED
    except BrokenPipeError:  # As of `| head`.
        _discard_output()
        return _BROKEN_PIPE
    except Exception as error:
        # What cannot be read is a UserError, so this is a full disk, of whatever library.
        if not isinstance(error, OSError) and not disk.is_full(error):
            raise
        _discard_output()
        told = disk.remedy(error, "" if isinstance(error, OSError) else graph_errors.reason(error))
        reason, status = f"the output cannot be written: {told}", 1
    print(f"{program.name(module)}: {printable(reason)}", file=sys.stderr)
    return status


def printable(text: str) -> str:
    r"""Escapes what would break a line or the terminal, such as newlines in a file's name.

    Example:
        >>> print(printable("two\nlines"))
        two\nlines
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _discard_output() -> None:
    """Lets Python's own flush at the end go nowhere, where it would fail once more."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
