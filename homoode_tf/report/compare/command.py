# SPDX-License-Identifier: Apache-2.0
"""Trains models side by side and reports on them.

    python -m homoode_tf.compare --config=configs/compare_digits.py [--workdir=DIR] [--data_dir=DIR]
        [--jobs=N]

Each run is a process of its own, one after the other or `--jobs` at a time; with more than one the
seconds a step are those of a share of the machine. The same command again goes on where it was
stopped, and tries again what failed. In the workdir stand `results.json`, `table.md` and
`curves.png`, up to date after every run. The status is 1 if any run failed.
"""

import contextlib
import json
import pathlib
import re

from absl import flags
from ml_collections import config_flags

from homoode_tf import command_line
from homoode_tf.disk import write_atomically
from homoode_tf.errors import UserError
from homoode_tf.report.compare import member_processes, results
from homoode_tf.report.compare.experiment import Experiment
from homoode_tf.training.interruption import Interrupted

FLAGS = flags.FlagValues()
_CONFIG = command_line.define_config(FLAGS, "The comparison, a configs/compare_*.py.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of all runs. Default: runs/NAME, of configs/NAME.py.", FLAGS
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the TFDS data sets. Default: TFDS's own.", FLAGS
)
_JOBS = flags.DEFINE_integer(
    "jobs", 1, "Runs at a time, each on its share of the cores.", flag_values=FLAGS
)


def main() -> None:
    """Does what the flags say."""
    # Now, because without matplotlib it fails: training would be for nothing.
    from homoode_tf.report.compare import curves

    config = _CONFIG.value
    recipe = config_flags.get_config_filename(FLAGS[_CONFIG.name])
    experiment = Experiment(config, _WORKDIR.value or default_workdir(recipe))
    for name, (task, initial_point) in experiment.parameters.items():
        print(f"{name}: {task:,} parameters, {initial_point} of the initial point", flush=True)
    count, failed = len(experiment.members), []
    try:
        runs = member_processes.train(experiment.members, _DATA_DIR.value, _JOBS.value, recipe)
        with contextlib.closing(runs):
            for number, (member, outcome) in enumerate(runs, start=1):
                text = outcome.get("failure") or f"test accuracy {outcome['test_accuracy']:.2%}"
                name = f"{member.model}, seed {member.seed}"
                print(f"[{number}/{count}] {name}: {text}", flush=True)
                failed += [name] if "failure" in outcome else []
                found = results.summarise(experiment)
                table = results.markdown_table(found)
                write_atomically(experiment.workdir / "table.md", table)
                text = json.dumps(found, indent=1) + "\n"
                write_atomically(experiment.workdir / "results.json", text)
                curves.draw(experiment.workdir / "curves.png", found)
    except Interrupted as error:
        message = f"{error}; the same command goes on where the runs stand"
        raise Interrupted(error.signal_number, message) from None
    print(table)
    if failed:
        raise UserError(
            f"{len(failed)} of {count} runs failed: {'; '.join(failed)}. log.txt in the folder of "
            f"each below {experiment.workdir} says why; the same command tries them again."
        )


def default_workdir(recipe: str) -> pathlib.Path:
    """The folder of a comparison by its config file, with the argument after it, if any."""
    path, _, argument = recipe.partition(":")
    name = re.sub(r"\W+", "_", f"{pathlib.Path(path).stem} {argument}".strip())
    return pathlib.Path("runs") / f"compare_{name.removeprefix('compare_')}"


def start() -> None:
    """Parses the command line and runs the command."""
    command_line.run(main, FLAGS, "compare_digits", __doc__)
