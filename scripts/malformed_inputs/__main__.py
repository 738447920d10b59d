# SPDX-License-Identifier: Apache-2.0
"""Does every malformed input end in a clear error, with its exit status, and in time?

    python -m scripts.malformed_inputs [--count 1000] [--seed 0] [--workdir runs/malformed_inputs]

Makes malformed inputs of four kinds in equal numbers: command lines of train.py, image files and
SavedModels for `python -m homoode_tf.predict`, damaged checkpoints, and arrays for an exported
model. Each runs in a process of its own, one in fifty started as a user starts it and the rest in
forks. Prints how many were answered as they should be, and those that were not with the command
that shows it; ends with status 1 if there are any. The first run trains a small model for the
others to be made from.
"""

import argparse
import collections
import os
import pathlib
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence

# Set before TensorFlow starts: its notices would stand between the messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# What the forks need. Importing runs no TensorFlow operation; see `processes`.
from scripts.malformed_inputs import arrays, checkpoints, command_lines, images, processes
from scripts.malformed_inputs.case import (
    ARRAYS,
    CHECKPOINTS,
    COMMAND_LINES,
    IMAGES,
    Case,
    Outcome,
    judge,
)
from scripts.malformed_inputs.materials import Materials

_KINDS: dict[str, Callable[[Materials, random.Random, int], list[Case]]] = {
    COMMAND_LINES: command_lines.make,
    IMAGES: images.make,
    CHECKPOINTS: checkpoints.make,
    ARRAYS: arrays.make,
}
# One in so many cases is started as a user starts it.
_STARTED = 50
_PROGRESS = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.malformed_inputs")
    parser.add_argument("--count", type=int, default=1000, help="of all kinds (%(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=list(_KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time (%(default)s)")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds of one (%(default)s)")
    parser.add_argument(
        "--workdir", type=pathlib.Path, default=pathlib.Path("runs/malformed_inputs")
    )
    options = parser.parse_args(arguments)
    shutil.rmtree(options.workdir / "cases", ignore_errors=True)
    options.workdir.mkdir(parents=True, exist_ok=True)
    materials = Materials(options.workdir)
    cases = []
    for number, kind in enumerate(options.kinds):
        share = options.count // len(options.kinds) + (number < options.count % len(options.kinds))
        # Of their own, so that a kind's cases do not depend on which others are asked for.
        chance = random.Random(f"{options.seed} {kind}")
        cases += _KINDS[kind](materials, chance, share)
    return report(processes.run(mark(cases), options.jobs, options.limit), len(cases))


def mark(cases: Sequence[Case]) -> list[tuple[Case, bool]]:
    """Says of each case whether it is to be started as a user starts it."""
    return [(case, number % _STARTED == 0) for number, case in enumerate(cases)]


def report(ended: Iterable[tuple[Case, Outcome]], count: int) -> int:
    """Judges and prints how cases ended; returns the exit status."""
    passed, failed, seconds = collections.Counter(), collections.Counter(), collections.Counter()
    longest = 0.0
    for number, (case, outcome) in enumerate(ended, start=1):
        seconds[case.kind] += outcome.seconds
        longest = max(longest, outcome.seconds)
        if (fault := judge(case, outcome)) is None:
            passed[case.kind] += 1
            if case.folder is not None:
                shutil.rmtree(case.folder)
        else:
            failed[case.kind] += 1
            print(f"FAILED, {fault}: {case}\n    {outcome.last_line}", flush=True)
        if number % _PROGRESS == 0:
            print(f"{number} of {count}, {failed.total()} failed", flush=True)
    width = max(map(len, _KINDS))
    print(f"{'kind':{width}}  cases  passed  failed  seconds a case")
    for kind in {**passed, **failed}:
        cases = passed[kind] + failed[kind]
        print(
            f"{kind:{width}}  {cases:5}  {passed[kind]:6}  {failed[kind]:6}  "
            f"{seconds[kind] / cases:14.1f}"
        )
    print(f"{passed.total()} of {count} passed; the longest took {longest:.0f} s.")
    return 0 if passed.total() == count else 1


if __name__ == "__main__":
    sys.exit(main())
