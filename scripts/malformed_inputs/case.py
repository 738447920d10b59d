# SPDX-License-Identifier: Apache-2.0
"""A malformed input, how a command ended on it, and whether that is as it should be."""

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Sequence

COMMAND_LINES = "command lines"
IMAGES = "image files and models"
CHECKPOINTS = "checkpoints"
ARRAYS = "arrays"

TRAIN = "train.py"
PREDICT = "python -m homoode_tf.predict"
ASK = "python -m scripts.malformed_inputs.ask"
_COMMANDS = {name: tuple(name.removeprefix("python ").split()) for name in (TRAIN, PREDICT, ASK)}

_TRACEBACK = "Traceback (most recent call last)"
# Of TensorFlow's own, which no setting silences.
_NOTICE = re.compile(r"[IWE]\d{4} |WARNING: All log messages before absl::InitializeLog")
# A message that is longer is an outburst, not a line that a person reads.
_LONGEST_LINE = 2000


@dataclasses.dataclass(frozen=True)
class Case:
    """One malformed input.

    Args:
        kind: `COMMAND_LINES`, `IMAGES`, `CHECKPOINTS` or `ARRAYS`.
        reason: Why it is malformed.
        program: `TRAIN`, `PREDICT` or `ASK`.
        arguments: Of the program.
        names: What the message must name: one of these words, in upper or lower case.
        statuses: Those that are right. With 0 a line on the standard error must name the damage;
            otherwise the last line must, and must begin as `begins` says.
        begins: How the program's own messages begin; by default with its name.
        folder: Files of the case's own, deleted when it has passed.
    """

    kind: str
    reason: str
    program: str
    arguments: Sequence[str]
    names: Sequence[str]
    statuses: Sequence[int] = (1,)
    begins: str = ""
    folder: pathlib.Path | None = None

    @property
    def command(self) -> tuple[str, ...]:
        """What follows `python` on the command line."""
        return (*_COMMANDS[self.program], *self.arguments)

    def __str__(self) -> str:
        return f"{self.reason}: python {shlex.join(self.command)}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        status: Exit status; negative where a signal ended it, None where it had to be killed.
        output: Its standard output.
        errors: Its standard error.
        seconds: From start to end.
    """

    status: int | None
    output: str
    errors: str
    seconds: float

    @property
    def lines(self) -> list[str]:
        """The lines on the standard error but for TensorFlow's notices."""
        return [line for line in self.errors.splitlines() if line and not _NOTICE.match(line)]

    @property
    def last_line(self) -> str:
        """The last of `lines`."""
        return self.lines[-1] if self.lines else ""


def judge(case: Case, outcome: Outcome) -> str | None:
    """Returns what is wrong with an outcome, or None where it is as it should be.

    Example:
        >>> case = Case("x", "no file", PREDICT, ["a.png"], names=["no such file"])
        >>> judge(case, Outcome(0, "a.png  seven", "", 1.0))
        'status 0 instead of 1'
    """
    if outcome.status is None:
        return "did not end"
    if _TRACEBACK in outcome.errors or _TRACEBACK in outcome.output:
        return "a traceback"
    if outcome.status not in case.statuses:
        return f"status {outcome.status} instead of {' or '.join(map(str, case.statuses))}"
    if outcome.status == 0:
        return None if _names(case, outcome.errors) else "success without a word of the damage"
    if not outcome.last_line.startswith(case.begins or f"{case.program}: "):
        return "the last line is not ours"
    if not _names(case, outcome.last_line):
        return f"the message names none of: {', '.join(case.names)}"
    if len(outcome.last_line) > _LONGEST_LINE:
        return f"a message of {len(outcome.last_line)} letters"
    return None


def _names(case: Case, text: str) -> bool:
    return any(name.lower() in text.lower() for name in case.names)
