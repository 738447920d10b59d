# SPDX-License-Identifier: Apache-2.0
"""Trains models side by side and reports on them, or compares finished runs.

    python -m homoode_tf.compare --config=compare_digits --jobs=2
    python -m homoode_tf.compare --models=homoode,deq --config.recipe.epochs=1
    python -m homoode_tf.compare --runs runs/a runs/b

Each run is a process of its own; with --jobs above one the seconds a step are
those of a share of the machine. The same command again goes on where it was
stopped, and tries again what failed. The workdir has results.json, table.md and
curves.png, up to date after every run. The status is 1 if any run failed.
"""

import contextlib
import json
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import tqdm
from absl import flags
from ml_collections import config_flags

from homoode_tf import command_line, empty_flags
from homoode_tf.checks import check_choice
from homoode_tf.disk import write_atomically
from homoode_tf.errors import UserError
from homoode_tf.report.compare import experiment as experiments
from homoode_tf.report.compare import member_processes, results
from homoode_tf.report.compare.member_bars import MemberBars
from homoode_tf.training.files.workdir import default_name
from homoode_tf.training.interruption import Interrupted

FLAGS = flags.FlagValues()
_CONFIG = command_line.define_config(FLAGS, "The comparison, a configs/compare_*.py.")
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of all runs. Default: runs/NAME, of configs/NAME.py, and what flags change of it.",
    FLAGS,
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the TFDS data sets. Default: TFDS's own.", FLAGS
)
_JOBS = flags.DEFINE_integer(
    "jobs", 1, "Runs at a time, each on its share of the cores.", flag_values=FLAGS
)
_MODELS = flags.DEFINE_list(
    "models", None, "Which models of the comparison, apart by commas. Default: all.", FLAGS
)
_RUNS = flags.DEFINE_list(
    "runs", None, "Folders of finished runs to compare; nothing is trained.", FLAGS
)
_AGAINST = flags.DEFINE_string(
    "against",
    None,
    "A model with which the table compares the others seed by seed: the mean of the differences of "
    "test accuracy, and half the width of its 95 % confidence interval.",
    FLAGS,
)
empty_flags.refuse(FLAGS)
_FIELDS = (
    ("recipe.FIELD", "The recipe that all share: `homoode-train --help` lists the fields."),
    ("seeds=(0, ...)", "Each model is trained with each of them."),
    ("parameter_tolerance=0.01", "How far the numbers of parameters may be apart."),
)


def main() -> None:
    """Does what the flags say."""
    # Now, because without matplotlib it fails: training would be for nothing.
    from homoode_tf.report.compare import curves

    if _RUNS.value:
        workdir = pathlib.Path(_WORKDIR.value or "runs/compare_runs")
        print(_report(workdir, results.of_runs(_RUNS.value), curves.draw))
        print(f"Written to {workdir}: table.md, results.json, curves.png")
        return
    config = _CONFIG.value
    if _MODELS.value:
        config = experiments.select(config, _MODELS.value)
    recipe = config_flags.get_config_filename(FLAGS[_CONFIG.name])
    changes = config_flags.get_override_values(FLAGS[_CONFIG.name])
    workdir = _WORKDIR.value or default_workdir(recipe, changes)
    experiment = experiments.Experiment(config, workdir, _DATA_DIR.value)
    if _AGAINST.value:
        check_choice("--against", _AGAINST.value, experiment.model_names)
    for name, (task, initial_point) in experiment.parameters.items():
        print(f"{name}: {task:,} parameters, {initial_point} of the initial point", flush=True)
    count, failed = len(experiment.members), []
    try:
        runs = member_processes.train(
            experiment.members, _DATA_DIR.value, _JOBS.value, recipe, MemberBars().draw
        )
        with contextlib.closing(runs):
            for number, (member, outcome) in enumerate(runs, start=1):
                text = outcome.get("failure") or f"test accuracy {outcome['test_accuracy']:.2%}"
                name = f"{member.model}, seed {member.seed}"
                tqdm.tqdm.write(f"[{number}/{count}] {name}: {text}")
                failed += [name] if "failure" in outcome else []
                table = _report(experiment.workdir, results.summarise(experiment), curves.draw)
    except Interrupted as error:
        message = f"{error}; the same command goes on where the runs stand"
        raise Interrupted(error.signal_number, message) from None
    print(table)
    if failed:
        raise UserError(
            f"{len(failed)} of {count} runs failed: {'; '.join(failed)}. log.txt in the folder of "
            f"each below {experiment.workdir} says why; the same command tries them again."
        )


def _report(
    workdir: pathlib.Path,
    found: Mapping[str, Any],
    draw: Callable[[pathlib.Path, Mapping[str, Any]], None],
) -> str:
    """Writes table, numbers and curves; returns the table."""
    workdir.mkdir(parents=True, exist_ok=True)
    table = results.markdown_table(found, _AGAINST.value)
    write_atomically(workdir / "table.md", table)
    write_atomically(workdir / "results.json", json.dumps(found, indent=1) + "\n")
    draw(workdir / "curves.png", found)
    return table


def default_workdir(recipe: str, changes: Mapping[str, Any]) -> pathlib.Path:
    """The folder of a comparison by its config file, any argument after it, and changed fields."""
    path, _, argument = recipe.partition(":")
    name = re.sub(r"\W+", "_", f"{pathlib.Path(path).stem} {argument}".strip())
    return pathlib.Path("runs") / default_name(f"compare_{name.removeprefix('compare_')}", changes)


def start() -> None:
    """Parses the command line and runs the command."""
    command_line.run(main, FLAGS, "compare_digits", __doc__, _FIELDS, more="runs")
