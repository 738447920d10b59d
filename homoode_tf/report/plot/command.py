# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of a run: `python -m homoode_tf.plot --workdir DIR [--images 8]`.

Reads the run's folder and writes PNG files, and `diagnostics.json` with the numbers behind them,
to `figures/` in it. Ends with status 0 if every figure that makes sense for the model is there, 1
if the run lacks something that one of them needs, and 2 if nothing could be done.
"""

import argparse
import sys
from collections.abc import Sequence

from homoode_tf import disk, empty_flags, program
from homoode_tf.checks import check_integer
from homoode_tf.errors import UserError
from homoode_tf.graph_errors import reason


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    name = program.name("homoode_tf.plot")
    parser = argparse.ArgumentParser(prog=name, description="Draws the figures of a run.")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="the run's folder")
    parser.add_argument(
        "--data_dir", metavar="DIR", help="where the data sets are (default: TFDS's own folder)"
    )
    parser.add_argument(
        "--output", metavar="DIR", help="where the figures go (default: figures/ in the workdir)"
    )
    parser.add_argument(
        "--images",
        type=int,
        default=8,
        metavar="N",
        help="test images whose trajectories are drawn (default: 8)",
    )
    options = empty_flags.parse(parser, arguments)
    try:
        from homoode_tf.report.plot.run_report import DIAGNOSTICS, draw

        check_integer("--images", options.images, at_least=1)
        report = draw(options.workdir, options.data_dir, options.output, options.images)
    except (OSError, UserError) as error:
        print(f"{name}: {disk.remedy(error, reason(error))}", file=sys.stderr)
        return 2
    for line in [*report.summary, *report.not_applicable]:
        print(line)
    print(f"Written to {report.folder}: {', '.join([*report.drawn, DIAGNOSTICS])}")
    for problem in report.failed:
        print(f"{name}: {problem}", file=sys.stderr)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
