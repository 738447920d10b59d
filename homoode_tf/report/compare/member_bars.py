# SPDX-License-Identifier: Apache-2.0
"""What a person sees of the members of a comparison while they train."""

import json
import os
import pathlib
import re
import sys
import time
from collections.abc import Sequence
from typing import TextIO

import tqdm

from homoode_tf.report.compare.experiment import Member
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.watch.progress import BAR

_SECONDS_BETWEEN_DRAWINGS = 1.0
_TAIL_BYTES = 4096
# As the member's `Progress` writes it to its log.
_STEP = re.compile(r"step (\d+)/(\d+): (loss \S+, accuracy \S+), ")


class MemberBars:
    """A bar for each member that trains, drawn every second; nothing where there is no terminal.

    Args:
        stream: Where to draw, the standard output by default.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream = sys.stdout if stream is None else stream
        self._bars: dict[pathlib.Path, tqdm.tqdm] = {}
        self._drawn = -_SECONDS_BETWEEN_DRAWINGS

    def draw(self, running: Sequence[Member]) -> None:
        """Draws the bars of these members; called as often as one likes."""
        workdirs = [member.workdir for member in running]
        for workdir in self._bars.keys() - set(workdirs):
            self._bars.pop(workdir).close()
        now = time.monotonic()
        if not self._stream.isatty() or now - self._drawn < _SECONDS_BETWEEN_DRAWINGS:
            return
        self._drawn = now
        for member in running:
            if member.workdir not in self._bars:
                self._bars[member.workdir] = self._new_bar(member)
            bar = self._bars[member.workdir]
            bar.n, bar.total, text = _progress(member)
            bar.set_postfix_str(text, refresh=True)

    def _new_bar(self, member: Member) -> tqdm.tqdm:
        taken = [bar.pos for bar in self._bars.values()]
        return tqdm.tqdm(
            desc=f"{member.model}, seed {member.seed}",
            position=next(n for n in range(len(taken) + 1) if -n not in taken),
            file=self._stream,
            bar_format=BAR,
            dynamic_ncols=True,
            leave=False,
        )


def _progress(member: Member) -> tuple[int, int | None, str]:
    """The step that a member has made, of how many, if it has said so, and its metrics."""
    if not (said := _STEP.findall(_tail(member.log))):
        return 0, None, "starting"
    step, total, text = said[-1]
    # Its log has a line now and then, its metrics one more often.
    lines = _tail(Workdir(member.workdir).metrics).splitlines()
    try:
        step = max(int(step), json.loads(lines[-1])["step"])
    except (IndexError, KeyError, TypeError, ValueError):  # The last line is being written.
        step = int(step)
    return step, int(total), text


def _tail(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
