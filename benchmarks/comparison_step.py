# SPDX-License-Identifier: Apache-2.0
"""How long does a training step of each member of a comparison take, beside one of them?

    python -m benchmarks.comparison_step --config=configs/compare_regularisers.py --against=plain

Each member is built as `homoode_tf.compare` trains it, its data included. All of them make their
first steps, and then one step each in turn. What a comparison at equal time needs is the ratio.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time

from benchmarks import reporting
from homoode_tf import command_line
from homoode_tf.checks import check_choice
from homoode_tf.errors import UserError
from homoode_tf.report.compare import experiment as experiments
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.step import make_train_step


class SteppingMember:
    """A member of a comparison, one training step after the other.

    Args:
        settings: Its config.
        folder: For its run, which leaves nothing there.
        data_dir: Folder of the TFDS data sets.
        num_steps: How many steps will be asked for at most.
        early: Whether the steps are those with `config.early_solver`.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        folder: pathlib.Path,
        data_dir: str | None,
        num_steps: int,
        early: bool = False,
    ):
        run = Run(settings, Workdir(folder), data_dir, "one_device")
        run.restore_or_initialise()
        self._state = run.state
        self._step = make_train_step(run.state, run.settings, run.early_solver if early else None)
        self._batches = run.inputs.train(0, num_steps)

    def step(self) -> dict[str, float]:
        """Makes a step; returns its "seconds", and its evaluations "forward" and "backward"."""
        self._state.recent_metrics.reset()
        start = time.perf_counter()
        self._step(self._batches)
        self._state.wait_for_device()
        seconds = time.perf_counter() - start
        means = self._state.recent_metrics.means()
        return {
            "seconds": seconds,
            "forward": means["nfe_forward"],
            "backward": means["nfe_backward"],
        }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison_step")
    parser.add_argument("--config", required=True, help="a configs/compare_*.py")
    parser.add_argument("--against", required=True, help="what the others are divided by")
    parser.add_argument("--models", nargs="+", help="some of the members; default: all")
    parser.add_argument("--rounds", type=int, default=20, help="times each step is measured")
    parser.add_argument("--train_steps", type=int, default=100, help="before it is measured")
    parser.add_argument("--data_dir", help="TFDS folder; TFDS's own without it")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.train_steps < 1:
        parser.error("--rounds and --train_steps must be positive")
    try:
        config = command_line.read_config(arguments.config)
        if arguments.models:
            config = experiments.select(config, arguments.models)
        check_choice("--against", arguments.against, list(config.models))
    except UserError as error:
        parser.error(str(error))
    arguments.comparison = config
    return arguments


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        experiment = experiments.Experiment(arguments.comparison, folder, arguments.data_dir)
        running = members_of(
            experiment, arguments.data_dir, arguments.train_steps + arguments.rounds
        )
        measured = in_turn(running, arguments.train_steps, arguments.rounds)
    results = {
        "machine": reporting.machine(),
        "against": arguments.against,
        "train_steps": arguments.train_steps,
        "rounds": arguments.rounds,
        "members": measured,
    }
    reporting.write(arguments.output, "comparison_step", results, report(results))


def members_of(
    experiment: experiments.Experiment, data_dir: str | None, num_steps: int
) -> dict[str, SteppingMember]:
    """Returns the comparison's members with its first seed, by name.

    One with `config.early_solver` is there twice: by turns with its own solver, either would begin
    its steps with the size that the other has found.
    """
    first, running = experiment.members[0].seed, {}
    for member in experiment.members:
        if member.seed != first:
            continue
        settings = TrainingSettings.from_config(member.config)
        ways = {member.model: False}
        if part := settings.early_solver.fraction:
            ways[f"{member.model}, first {part:.0%}"] = True
        for name, early in ways.items():
            running[name] = SteppingMember(settings, member.workdir, data_dir, num_steps, early)
    return running


def in_turn(
    running: dict[str, SteppingMember], train_steps: int, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Returns of each member what `SteppingMember.step` returned in each round, as lists."""
    for name, member in running.items():
        print(f"[{name}: {train_steps} steps]", file=sys.stderr, flush=True)
        for _ in range(train_steps):
            member.step()
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, member in running.items():
            measured[name].append(member.step())
    return {
        name: {key: [step[key] for step in steps] for key in steps[0]}
        for name, steps in measured.items()
    }


def report(results: dict) -> str:
    """Returns the table in Markdown, with what it says and the command that made it."""
    machine, members = results["machine"], results["members"]
    base = members[results["against"]]["seconds"]
    rows = []
    for name, steps in members.items():
        # Paired by the round, so that what slows a round down counts for both.
        ratios = [own / other for own, other in zip(steps["seconds"], base, strict=True)]
        counts = [statistics.mean(steps[key]) for key in ("forward", "backward")]
        rows.append([name, statistics.median(steps["seconds"]), statistics.median(ratios), *counts])
    header = ["member", "step (s)", f"/ {results['against']}", "evaluations", "backward"]
    return (
        f"A training step of each member after {results['train_steps']}, median of "
        f"{results['rounds']} rounds in turn and of the ratios of a round.\n\n"
        f"    {machine['command']}\n\n{machine['processor']}, {machine['cores']} cores, "
        f"{machine['bfloat16']}.\n\n{reporting.markdown_table(header, rows)}"
    )


if __name__ == "__main__":
    main()
